"""A repository of many releases, made in bulk as publishing one by one leaves it.

Roles come from the code that publishers run and go in through the service's own
commit; only the walk over HTTP and the weights' bytes are left out. Of each role only
the newest version is there, under the number that it would have by now.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.orm import Session
from tuf.api.metadata import Metadata, TargetFile, Targets

from model_zoo.clock import system_clock
from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.intoto import ReleaseStatement, sign_release
from model_zoo.statements.manifest import FileEntry, Manifest
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.transparency.tlog import LogEntry
from model_zoo.tuf.ceremony import delegate, next_targets
from model_zoo.tuf.publisher_roles import (
    PublisherRoles,
    edited,
    release_targets,
    sign_roles,
)
from model_zoo.tuf.roles import SPLIT_AFTER, TARGETS, delegation_of, target_path
from service.context import Context, open_context
from service.database.tables import (
    PublisherRow,
    ReleaseRow,
    TargetRow,
    UploadFileRow,
    UploadRow,
)
from service.repository import state
from service.repository.commit import commit, entry, seed
from service.settings import Settings

PUBLISHERS = 100
WEIGHTS = "model.safetensors"
WEIGHTS_BYTES = 1_725_432
"""Of the BadNets CNN in fp32: the length is signed, the bytes are not there."""
TARGETS_A_RELEASE = 2
BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """A data folder with releases in it, and the keys of those who published them."""

    data_dir: Path
    root: bytes
    keys: Mapping[str, SigningKey]
    releases: int

    def publisher(self, number: int) -> str:
        """Return the name of a publisher, counted round and round."""
        return publisher_name(number % len(self.keys))

    def release(self, number: int) -> ReleaseName:
        """Return the name of a release that is there, counted round and round."""
        return release_name(number % self.releases, publishers=len(self.keys))


def seed_repository(
    data_dir: Path, *, releases: int, publishers: int = PUBLISHERS
) -> Seeded:
    """Fill an empty data folder; no service may have it open."""
    now = system_clock()
    context = open_context(Settings(data_dir=data_dir))
    keys = {publisher_name(it): SigningKey.generate() for it in range(publishers)}
    names = [release_name(it, publishers=publishers) for it in range(releases)]
    try:
        with context.database.writing() as session:
            seed(session, context)
            targets = _delegated(session, keys, now=now)
            added: dict[str, dict[str, TargetFile]] = {name: {} for name in keys}
            entries = []
            for some in _batches(names):
                made = [_made(name, keys[name.publisher]) for name in some]
                _keep(session, made, now=now)
                for release in made:
                    added[release.name.publisher] |= release.targets
                    entries.append(release.entry)
            roles = _roles(context, targets, added, keys, now=now)
            commit(session, context, roles, entries=entries)
        return Seeded(
            data_dir=data_dir, root=context.keys.root, keys=keys, releases=releases
        )
    finally:
        context.close()


def publisher_name(number: int) -> str:
    """Return what the publisher of that number is called."""
    return f"maker-{number:02d}"


def release_name(number: int, *, publishers: int) -> ReleaseName:
    """Return what the release of that number is called; publishers take turns."""
    model, publisher = divmod(number, publishers)
    return ReleaseName(publisher_name(publisher), f"model-{model:04d}", "1")


def manifest_of(name: ReleaseName) -> Manifest:
    """Return the manifest of a release whose weights exist by digest only."""
    sha256 = sha256_bytes(str(name).encode())
    return Manifest(
        files=(FileEntry(name=WEIGHTS, size_bytes=WEIGHTS_BYTES, sha256=sha256),)
    )


def add_uploads(
    session: Session, manifests: Sequence[Manifest], *, now: datetime
) -> list[str]:
    """Write the rows of complete uploads and return their ids."""
    ids = [secrets.token_hex(16) for _ in manifests]
    session.execute(
        insert(UploadRow),
        [{"id": it, "state": "complete", "active_at": now} for it in ids],
    )
    session.execute(
        insert(UploadFileRow),
        [
            {"upload_id": it, **file.model_dump()}
            for it, manifest in zip(ids, manifests, strict=True)
            for file in manifest.files
        ],
    )
    return ids


@dataclass(frozen=True, slots=True)
class _Made:
    """A release as its publisher sends it."""

    name: ReleaseName
    envelope: Envelope
    bundle: bytes

    @property
    def targets(self) -> dict[str, TargetFile]:
        """What the publisher's role says of it."""
        return release_targets(self.name, manifest_of(self.name), bundle=self.bundle)

    @property
    def entry(self) -> LogEntry:
        """What the log remembers of it."""
        return entry("attestation", str(self.name), self.envelope.unverified_payload)


def _made(name: ReleaseName, key: SigningKey) -> _Made:
    envelope = sign_release(ReleaseStatement(name, manifest_of(name)), key)
    return _Made(name, envelope, bundle_bytes(envelope=envelope, provenance=None))


def _keep(session: Session, releases: Sequence[_Made], *, now: datetime) -> None:
    """Write the rows of some releases."""
    manifests = [manifest_of(it.name) for it in releases]
    uploads = add_uploads(session, manifests, now=now)
    targets = [
        {
            "path": target_path(it.name, BUNDLE_NAME),
            "sha256": sha256_bytes(it.bundle),
            "data": it.bundle,
        }
        for it in releases
    ]
    rows = [
        {
            "publisher": it.name.publisher,
            "model": it.name.model,
            "version": it.name.version,
            "upload_id": upload,
            "envelope": it.envelope.to_object(),
            "provenance": None,
            "published_at": now,
        }
        for it, upload in zip(releases, uploads, strict=True)
    ]
    session.execute(insert(TargetRow), targets)
    session.execute(insert(ReleaseRow), rows)


def _delegated(
    session: Session, keys: Mapping[str, SigningKey], *, now: datetime
) -> Metadata[Targets]:
    """Return top-level targets that delegate to every publisher, unsigned."""
    targets = next_targets(state.require(session, TARGETS, Targets), now=now)
    rows = []
    for name, key in keys.items():
        delegate(targets.signed, name, Role(keys=(key.public,)))
        pem = key.public.to_pem()
        rows.append({"name": name, "keyid": key.public.keyid, "public_key": pem})
    session.execute(insert(PublisherRow), [{**row, "created_at": now} for row in rows])
    return targets


def _roles(
    context: Context,
    targets: Metadata[Targets],
    added: Mapping[str, Mapping[str, TargetFile]],
    keys: Mapping[str, SigningKey],
    *,
    now: datetime,
) -> dict[str, bytes]:
    """Return the signed file of every role, by the code that publishers run."""
    if context.keys.targets_key is None or targets.signed.delegations is None:
        msg = "only a development root can be seeded"
        raise LocalError(msg)
    files = sign_roles({TARGETS: targets}, context.keys.targets_key)
    for publisher, add in added.items():
        delegation = delegation_of(targets.signed, publisher)
        if delegation is None or not add:
            continue
        nothing = PublisherRoles(
            delegation=delegation,
            keys=targets.signed.delegations.keys,
            role=None,
            load_bin=_no_bin,
        )
        made = edited(nothing, add=add, now=now)
        for role in made.values():
            role.signed.version = _version_by_now(role.signed, alone=len(made) == 1)
        files |= sign_roles(made, keys[publisher])
    return files


def _version_by_now(role: Targets, *, alone: bool) -> int:
    """Return a role's number had it been written a release at a time."""
    count = len(role.targets)
    if alone:
        return max(1, count // TARGETS_A_RELEASE)
    return count or SPLIT_AFTER // TARGETS_A_RELEASE + 1


def _no_bin(name: str) -> Metadata[Targets]:
    msg = f"{name}: there is no bin before the first release"
    raise LocalError(msg)


def _batches(names: Sequence[ReleaseName]) -> Iterator[Sequence[ReleaseName]]:
    for start in range(0, len(names), BATCH):
        yield names[start : start + BATCH]
