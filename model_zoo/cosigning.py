"""The second signature: checked as if nobody had signed before, then added."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.metadata import Metadata, TargetFile, Targets

from model_zoo.answers import PendingRelease, PublishedRelease
from model_zoo.attestations import ReleaseStatement, vouched_release
from model_zoo.bundles import bundle_bytes
from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.errors import MalformedDocumentError, WrongReleaseError
from model_zoo.publishing import Author
from model_zoo.pulling import download_files
from model_zoo.transport import Transport
from model_zoo.trust.publishing import edited, release_targets, sign_roles
from model_zoo.trust.roles import parse


def cosign(transport: Transport, publisher: str, author: Author) -> PublishedRelease:
    """Sign the release of ``publisher`` that waits; return how it stands.

    The role to be signed is built here from what the pinned root vouches for now, and
    must be the one that waits, its expiry apart; the files are downloaded and hashed.

    Raises:
        NotFoundError: none waits.
        VerificationError: what waits is more, or other, than one release.
    """
    path = f"/publishers/{publisher}/pending"
    waiting = PendingRelease.read(transport.get(path))
    statement, files = _statement(waiting, publisher)
    with author.anchor.refreshed(transport.server) as zoo:
        roles = zoo.publisher(publisher)
        expected = edited(roles, add=files, now=author.anchor.now())
    held = {
        name: parse(canonical_json(it), Targets) for name, it in waiting.roles.items()
    }
    if set(held) != set(expected):
        msg = f"{waiting.name}: expected the roles {sorted(expected)} to change"
        raise MalformedDocumentError(msg)
    for name, role in held.items():
        _require_alike(name, role, expected[name])
    with TemporaryDirectory(prefix="zoo-cosign-") as folder:
        download_files(
            transport,
            f"{path}/files",
            manifest=statement.manifest,
            to=Path(folder),
        )
    signed: JsonObject = {
        name: json.loads(data) for name, data in sign_roles(held, author.key).items()
    }
    answer = transport.send("POST", f"{path}/signatures", {"roles": signed})
    return PublishedRelease.read(answer)


def _statement(
    waiting: PendingRelease, publisher: str
) -> tuple[ReleaseStatement, dict[str, TargetFile]]:
    """Return what the publisher says he publishes, and the targets that follow."""
    envelope, provenance = waiting.envelopes()
    statement = vouched_release(envelope)
    name = statement.release
    if str(name) != waiting.name or name.publisher != publisher:
        raise WrongReleaseError(expected=waiting.name, found=str(name))
    bundle = bundle_bytes(envelope=envelope, provenance=provenance)
    return statement, release_targets(name, statement.manifest, bundle=bundle)


def _require_alike(
    name: str, held: Metadata[Targets], expected: Metadata[Targets]
) -> None:
    found, wanted = held.signed.to_dict(), expected.signed.to_dict()
    for role in (found, wanted):
        role.pop("expires")
    if found != wanted:
        msg = f"{name}: what waits is not the current version with one release more"
        raise MalformedDocumentError(msg)
