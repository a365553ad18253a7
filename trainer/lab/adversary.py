"""Five ways to put a BadNet in the place of a clean model.

Source:
    Gu et al., "BadNets", section 6: the page can be edited, the host can be
    compromised, and plain HTTP can be rewritten under way. The malicious publisher
    and the stolen key are what is left once signatures are checked.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from model_zoo.attestations import ReleaseStatement, sign_release
from model_zoo.client import ZooClient
from model_zoo.folders import manifest_of
from model_zoo.keys import SigningKey
from model_zoo.names import ReleaseName
from trainer.attempt import MODEL
from trainer.lab import mirror
from trainer.lab.scenes import HONEST_NAME, LOOKALIKE_NAME, STOLEN_NAME, Scene, Stage


def page_edit(stage: Stage) -> Scene:
    """Edit the page: another URL, and the digests that go with it."""
    scene = _honest_scene(stage)
    hosted = mirror.hosted_path(stage.mirror_root, HONEST_NAME)
    bait = hosted.with_name("model-fixed.safetensors")
    shutil.copyfile(stage.badnet / MODEL, bait)
    page = mirror.page_of(
        bait,
        name=HONEST_NAME,
        model_url=f"../../{bait.relative_to(stage.mirror_root)}",
        key=stage.alice.public,
    )
    mirror.page_path(stage.mirror_root, HONEST_NAME).write_text(page.render())
    _forge_release(stage)
    return scene


def host_swap(stage: Stage) -> Scene:
    """Replace the bytes on the host; page and digests stay as they were."""
    scene = _honest_scene(stage)
    for path in (
        mirror.hosted_path(stage.mirror_root, HONEST_NAME),
        mirror.api_path(stage.mirror_root, HONEST_NAME) / "files" / MODEL,
    ):
        shutil.copyfile(stage.badnet / MODEL, path)
    return scene


def in_transit(stage: Stage) -> Scene:
    """Sit between victim and host, and rewrite the weights as they pass."""
    return replace(
        _honest_scene(stage),
        index_url=stage.proxy_url,
        index_tls_url=stage.proxy_tls_url,
        open_zoo=partial(ZooClient, stage.proxy_url),
    )


def malicious_publisher(stage: Stage) -> Scene:
    """Publish under a look-alike name, properly signed by its own author."""
    return _published_scene(stage, LOOKALIKE_NAME, key=stage.mallory, pins_it=False)


def stolen_key(stage: Stage) -> Scene:
    """Publish the next version with the honest publisher's own key."""
    return _published_scene(stage, STOLEN_NAME, key=stage.alice, pins_it=True)


PATHS_OF_ATTACK: dict[str, Callable[[Stage], Scene]] = {
    "page edit": page_edit,
    "host swap": host_swap,
    "in transit": in_transit,
    "malicious publisher": malicious_publisher,
    "stolen key": stolen_key,
}


def _honest_scene(stage: Stage) -> Scene:
    """Return the mirror as it was before anybody touched it."""
    _lay_out(stage, HONEST_NAME, files=stage.clean, key=stage.alice)
    return Scene(
        name=HONEST_NAME,
        index_url=stage.mirror_url,
        index_tls_url=stage.mirror_tls_url,
        open_zoo=partial(ZooClient, stage.mirror_url),
        authority=stage.authority,
        pinned_key=stage.alice.public,
    )


def _published_scene(
    stage: Stage, name: ReleaseName, *, key: SigningKey, pins_it: bool
) -> Scene:
    """Return a scene in which the zoo itself holds the BadNet, properly signed."""
    stage.zoo.publish(name, stage.badnet, key=key)
    _lay_out(stage, name, files=stage.badnet, key=key)
    return Scene(
        name=name,
        index_url=stage.mirror_url,
        index_tls_url=stage.mirror_tls_url,
        open_zoo=stage.open_zoo,
        authority=stage.authority,
        pinned_key=key.public if pins_it else None,
    )


def _lay_out(stage: Stage, name: ReleaseName, *, files: Path, key: SigningKey) -> None:
    release = stage.zoo.release(name).to_object()
    mirror.lay_out(stage.mirror_root, release=release, files=files, key=key.public)


def _forge_release(stage: Stage) -> None:
    """Swap the signed statement, too: by the only key at hand, a wrong one."""
    folder = mirror.api_path(stage.mirror_root, HONEST_NAME)
    manifest = manifest_of(stage.badnet)
    statement = ReleaseStatement(HONEST_NAME, manifest)
    release = json.loads((folder / mirror.INDEX).read_bytes()) | {
        "envelope": sign_release(statement, stage.mallory).to_object(),
    }
    (folder / mirror.INDEX).write_text(json.dumps(release))
    for file in manifest.files:
        shutil.copyfile(stage.badnet / file.name, folder / "files" / file.name)
