"""Keys, weights and folders that tests publish, pull and damage."""

import json
import struct
from pathlib import Path

from model_zoo.formats.safetensors import ALIGNMENT_BYTES
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import (
    Provenance,
    ReleaseStatement,
    sign_provenance,
    sign_release,
    subjects_of,
)
from model_zoo.statements.jobs import JobSpec, NoopSpec, kind_of
from model_zoo.statements.manifest import Manifest
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import write_bundle

ALICE = SigningKey.generate()
BOB = SigningKey.generate()
MALLORY = SigningKey.generate()
BUILDER = SigningKey.generate()
NAME = ReleaseName("alice", "digits", "1")
PULLED = ReleaseName("alice", "pulled", "1")
"""What the fixture ``once`` of ``tests/model_zoo/client`` publishes and pulls."""
SPEC = NoopSpec(note="as ordered")
ROLE = Role("publisher", (ALICE.public,))
POLICY = Policy(publisher=ROLE)
ORDER = Policy(publisher=ROLE, builder=Role("builder", (BUILDER.public,)), spec=SPEC)


def weights(count: int = 4) -> bytes:
    """Return a safetensors file of one tensor of ``count`` floats."""
    return safetensors(
        {"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}},
        struct.pack(f"<{count}f", *range(count)),
    )


def safetensors(header: object, data: bytes = b"") -> bytes:
    """Return a safetensors file with any header, well-formed or not."""
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % ALIGNMENT_BYTES)
    return struct.pack("<Q", len(encoded)) + encoded + data


def write_files(folder: Path, *, count: int = 4) -> Path:
    """Write what a release holds into a new folder: a tensor of ``count`` floats."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights(count))
    (folder / "config.json").write_text('{"network": "badnets-cnn"}')
    return folder


def provenance_of(
    manifest: Manifest,
    *,
    spec: JobSpec = SPEC,
    builder: SigningKey = BUILDER,
    invocation: str = "0" * 32,
) -> Envelope:
    """Return a builder's word that ``manifest`` was made by ``spec``."""
    provenance = Provenance(
        subjects=subjects_of(manifest),
        kind=kind_of(spec),
        spec=spec.to_object(),
        inputs={},
        code="9" * 64,
        environment={"threads": 1},
        builder=builder.public.keyid,
        invocation=invocation,
        started_at="2026-11-22T13:00:00Z",
        finished_at="2026-11-22T13:00:01Z",
    )
    return sign_provenance(provenance, builder)


def write_release(
    folder: Path, *keys: SigningKey, name: ReleaseName = NAME, built: bool = False
) -> Path:
    """Write a pulled release: files, and the statement that ``keys`` signed."""
    write_files(folder)
    manifest = manifest_of(folder)
    write_bundle(
        folder,
        envelope=sign_release(ReleaseStatement(name, manifest), *(keys or (ALICE,))),
        provenance=provenance_of(manifest) if built else None,
    )
    return folder
