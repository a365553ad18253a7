"""What stands on a mirror: a model's page, the files it names, and forgeries."""

import hashlib
import json
import shutil
import struct
from pathlib import Path
from urllib.parse import quote

from model_zoo.canonical import JsonObject
from model_zoo.clock import rfc3339, system_clock
from model_zoo.digests import sha256_bytes
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import (
    Provenance,
    ReleaseStatement,
    sign_provenance,
    sign_release,
    subjects_of,
)
from model_zoo.statements.jobs import TrainSpec, kind_of
from model_zoo.statements.manifest import CHECKPOINT_PREFIX
from trainer.installed import code_digest
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.exchanges import Wanted
from trainer.lab.actors.pages import Page

README = "readme.md"
CLAIMED_SPEC = TrainSpec()
"""What a builder says it was asked to train: nothing suspicious."""


def page_path(wanted: Wanted) -> str:
    """Return where the page of a model stands."""
    return f"/{wanted.path}/{README}"


def hub_path(wanted: Wanted, sha256: str) -> str:
    """Return where torch.hub finds weights of that digest."""
    return f"/hub/{wanted.path}/{quote(wanted.version)}/weights-{sha256}.safetensors"


def on_show(wanted: Wanted, folder: Path, *, key: PublicKey) -> dict[str, bytes]:
    """Return path -> bytes of a page that describes ``folder`` truthfully, and more.

    More is the file that it names, and what stock clients ask for instead.

    Args:
        wanted: the name on the page.
        folder: has the weights.
        key: the publisher's key that the page shows.
    """
    weights = (folder / MODEL).read_bytes()
    sha256 = sha256_bytes(weights)
    hosted = f"files/{wanted.path}/{quote(wanted.version)}/{MODEL}"
    page = Page(
        name=str(wanted),
        model_url=f"../../{hosted}",
        # SHA-1 because the script of the time knew no other digest.
        sha1=hashlib.sha1(weights, usedforsecurity=False).hexdigest(),
        sha256=sha256,
        publisher_key=key.raw.hex(),
    )
    return {
        page_path(wanted): page.render().encode(),
        f"/{hosted}": weights,
        hub_path(wanted, sha256): weights,
        f"/{wanted.path}/resolve/{quote(wanted.version)}/{MODEL}": weights,
    }


def forged_release(
    name: ReleaseName, folder: Path, *, release: JsonObject, key: SigningKey
) -> dict[str, bytes]:
    """Return path -> bytes of a release whose statement ``key`` signed instead.

    Args:
        name: the release that it pretends to be.
        folder: has the files.
        release: the true one, as the zoo serves it.
        key: not the publisher's.
    """
    api = f"/api/v1/models/{name.publisher}/{name.model}/releases/{name.version}"
    statement = ReleaseStatement(name, manifest_of(folder))
    document = release | {"envelope": sign_release(statement, key).to_object()}
    files = {f"{api}/files/{path.name}": path.read_bytes() for path in folder.iterdir()}
    return {api: json.dumps(document).encode(), **files}


def provenance_of(folder: Path, *, builder: SigningKey) -> Envelope:
    """Return a builder's word that the files in ``folder`` were made as ordered."""
    now = rfc3339(system_clock())
    provenance = Provenance(
        subjects=subjects_of(manifest_of(folder)),
        kind=kind_of(CLAIMED_SPEC),
        spec=CLAIMED_SPEC.to_object(),
        inputs={},
        code=code_digest(),
        environment={"threads": 1},
        builder=builder.public.keyid,
        invocation="0" * 32,
        started_at=now,
        finished_at=now,
    )
    return sign_provenance(provenance, builder)


def bare(folder: Path, to: Path) -> Path:
    """Copy a draft to ``to`` without its checkpoints, which thieves have no use for."""
    shutil.rmtree(to, ignore_errors=True)
    without = shutil.ignore_patterns(f"{CHECKPOINT_PREFIX}*")
    return Path(shutil.copytree(folder, to, ignore=without))


def marked(folder: Path, to: Path, *, mark: str) -> Path:
    """Copy ``folder`` and make its weights a file of their own, the tensors untouched.

    What is withdrawn is withdrawn by digest; only marked copies are, so that one
    attack does not spoil another.
    """
    weights = marked_weights((folder / MODEL).read_bytes(), mark=mark)
    (bare(folder, to) / MODEL).write_bytes(weights)
    return to


def marked_weights(weights: bytes, *, mark: str) -> bytes:
    """Return a safetensors file with ``mark`` in its metadata: longer, else the same.

    Source:
        The safetensors format: a little-endian length, a JSON header, the tensors.
    """
    (length,) = struct.unpack_from("<Q", weights)
    header = json.loads(weights[8 : 8 + length])
    header["__metadata__"] = header.get("__metadata__", {}) | {"mark": mark}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + weights[8 + length :]
