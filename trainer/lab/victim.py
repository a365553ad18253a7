"""Four levels of protection: what a careful, or careless, downloader does."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

from model_zoo.digests import sha256_file
from model_zoo.envelopes import Role
from model_zoo.errors import DigestMismatchError
from model_zoo.keys import PublicKey
from model_zoo.policy import VerificationPolicy
from trainer.attempt import MODEL
from trainer.lab.caffe_script import download_model
from trainer.lab.mirror import README
from trainer.lab.pages import read_page
from trainer.lab.scenes import Scene
from trainer.lab.unchecked import fetch, fetch_page


def unprotected(scene: Scene, folder: Path) -> Path:
    """Run the script of 2017 and use what it leaves, as people did.

    Its exit status is not looked at: the one wrong digest that the paper found had
    stood under 24 comments, none of which mentioned it.
    """
    to = folder / MODEL
    download_model(_page_url(scene, scene.index_url), to)
    return to


def tls(scene: Scene, folder: Path) -> Path:
    """Insist on a server certificate of the pinned authority, and on nothing else."""
    page_url = _page_url(scene, scene.index_tls_url)
    page = read_page(fetch_page(page_url, ca=scene.authority))
    to = folder / MODEL
    fetch(urljoin(page_url, page.model_url), to, ca=scene.authority)
    return to


def digest(scene: Scene, folder: Path) -> Path:
    """Compare the SHA-256 that stands on the page with that of the file."""
    page_url = _page_url(scene, scene.index_url)
    page = read_page(fetch_page(page_url))
    to = folder / MODEL
    fetch(urljoin(page_url, page.model_url), to)
    found = sha256_file(to)
    if found != page.sha256:
        to.unlink()
        raise DigestMismatchError(MODEL, expected=page.sha256, found=found)
    return to


def signature(scene: Scene, folder: Path) -> Path:
    """Use the zoo's client with the publisher's key pinned.

    Without a key from elsewhere the victim pins the one that the page shows: that is
    what a look-alike counts on.
    """
    key = scene.pinned_key or _key_shown(scene)
    policy = VerificationPolicy(publisher=Role("publisher", (key,)))
    with scene.open_zoo() as zoo:
        return zoo.pull(scene.name, policy=policy, to=folder / "pulled").path / MODEL


LEVELS: dict[str, Callable[[Scene, Path], Path]] = {
    "none": unprotected,
    "tls": tls,
    "digest": digest,
    "signature": signature,
}


def _page_url(scene: Scene, index_url: str) -> str:
    return f"{index_url}/{scene.name.publisher}/{scene.name.model}/{README}"


def _key_shown(scene: Scene) -> PublicKey:
    page = read_page(fetch_page(_page_url(scene, scene.index_url)))
    return PublicKey(bytes.fromhex(page.publisher_key))
