"""Seven levels of protection: what a careful, or careless, downloader does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

from model_zoo.client.zoo import ZooClient
from model_zoo.digests import sha256_file
from model_zoo.errors import (
    DigestMismatchError,
    TransportError,
    VerificationError,
    ZooError,
)
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from model_zoo.tuf.updater import Anchor
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.artefacts import page_path
from trainer.lab.actors.exchanges import Exchange
from trainer.lab.actors.pages import Page, read_page
from trainer.lab.clients.caffe_script import download_model
from trainer.lab.clients.naive import fetch, fetch_page
from trainer.lab.clients.scanning import require_nothing_found


def unprotected(exchange: Exchange, folder: Path) -> Path:
    """Run the script of 2017 and use what it leaves, as people did.

    Its exit status is not looked at: the one wrong digest that the paper found had
    stood under 24 comments, none of which mentioned it.
    """
    to = folder / MODEL
    download_model(exchange.url + page_path(exchange.wanted), to)
    return to


def tls(exchange: Exchange, folder: Path) -> Path:
    """Insist on a server certificate of the pinned authority, and on nothing else."""
    page_url = exchange.tls_url + page_path(exchange.wanted)
    page = read_page(fetch_page(page_url, ca=exchange.authority))
    to = folder / MODEL
    fetch(urljoin(page_url, page.model_url), to, ca=exchange.authority)
    return to


def digest(exchange: Exchange, folder: Path) -> Path:
    """Compare the SHA-256 that stands on the page with that of the file."""
    page = page_shown(exchange)
    to = folder / MODEL
    fetch(urljoin(exchange.url + page_path(exchange.wanted), page.model_url), to)
    found = sha256_file(to)
    if found != page.sha256:
        to.unlink()
        raise DigestMismatchError.of(MODEL, expected=page.sha256, found=found)
    return to


def signature(exchange: Exchange, folder: Path) -> Path:
    """Use the zoo's client with the publisher's key pinned.

    Without a key from elsewhere the victim pins the one that the page shows: that is
    what a look-alike counts on.
    """
    key = exchange.pinned_key or PublicKey(
        bytes.fromhex(page_shown(exchange).publisher_key)
    )
    policy = Policy(publisher=Role("publisher", (key,)))

    def pull(url: str, to: Path) -> Path:
        with ZooClient(url) as zoo:
            return zoo.pull(str(exchange.wanted), policy=policy, to=to / "pulled").path

    return _from_everywhere(exchange, folder, pull) / MODEL


def trust(
    exchange: Exchange,
    folder: Path,
    *,
    demands: Callable[[Exchange], Policy] = lambda _: Policy(),
) -> Path:
    """Use the zoo's client with its root pinned, and believe what that leads to."""
    policy = demands(exchange)

    def pull(url: str, to: Path) -> Path:
        anchor = Anchor(root=exchange.root, cache=to / "cache", clock=exchange.clock)
        for visited in exchange.visited:
            with anchor.refreshed(Server(visited)):
                pass  # what was seen there is never unseen
        with ZooClient(url, anchor=anchor) as zoo:
            return zoo.pull(str(exchange.wanted), policy=policy, to=to / "pulled").path

    return _from_everywhere(exchange, folder, pull) / MODEL


def _from_everywhere(
    exchange: Exchange, folder: Path, pull: Callable[[str, Path], Path]
) -> Path:
    """Return what a victim is made to take at any of the scene's addresses.

    Raises:
        ZooError: what the first of them was refused for; all of them were. Where one
            outlasted him, that comes first.
    """
    folders = [folder, *(folder / f"also-{n}" for n in range(len(exchange.also)))]
    with ThreadPoolExecutor(len(folders)) as pool:
        pulled = [
            pool.submit(pull, url, to)
            for url, to in zip((exchange.url, *exchange.also), folders, strict=True)
        ]
    for one in pulled:
        with suppress(TransportError, VerificationError):
            return one.result()
    for one, attrition in zip(pulled, exchange.attritions, strict=False):
        if attrition.has_beaten(one.exception()):
            return one.result()
    return pulled[0].result()


def everything(exchange: Exchange) -> Policy:
    """Return the policy that demands all there is to be had.

    Only the publisher that was meant; a trusted builder's word how the files were
    made; a witness who has seen the log.
    """
    return Policy(publishers=exchange.publishers, provenance=True, cosignatures=1)


def scanned(exchange: Exchange, folder: Path) -> Path:
    """Believe what the pinned root leads to if, besides, a scan finds nothing in it.

    Not what ``everything`` demands: what a scan alone adds to trust is to be seen.

    Raises:
        SuspiciousError: a scanner finds a backdoor likely; the weights are gone.
        NotScannedError: no scanner could tell; likewise.
    """
    weights = trust(exchange, folder)
    try:
        require_nothing_found(exchange.look(weights))
    except ZooError:
        weights.unlink()
        raise
    return weights


SCAN_LEVEL = "trust+scan"

LEVELS: dict[str, Callable[[Exchange, Path], Path]] = {
    "none": unprotected,
    "tls": tls,
    "digest": digest,
    "signature": signature,
    "trust": trust,
    "trust+policy": partial(trust, demands=everything),
    SCAN_LEVEL: scanned,
}


def page_shown(exchange: Exchange) -> Page:
    """Return the page that the victim is shown."""
    return read_page(fetch_page(exchange.url + page_path(exchange.wanted)))
