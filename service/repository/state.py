"""The metadata that the zoo keeps: each role's newest version, and some older ones.

ADR 17: it lies in the database, in the form in which it was signed.
"""

import json
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from model_zoo.errors import LocalError
from model_zoo.tuf.publisher_roles import PublisherRoles
from model_zoo.tuf.roles import SNAPSHOT, TARGETS, TRUSTED_KEYS, delegation_of
from model_zoo.tuf.trusted_keys import TrustedKeys
from service.database.tables import MetadataRow, TargetRow

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)


def newest(session: Session, role: str) -> bytes | None:
    """Return the newest version of a role, or None."""
    return session.scalar(
        select(MetadataRow.data)
        .where(MetadataRow.role == role)
        .order_by(MetadataRow.version.desc())
        .limit(1)
    )


def find(session: Session, role: str, kind: type[T]) -> Metadata[T] | None:
    """Return the newest version of a role as metadata, or None."""
    data = newest(session, role)
    return None if data is None else _read(data, kind)


def require(session: Session, role: str, kind: type[T]) -> Metadata[T]:
    """Return the newest version of a role that every repository has.

    Raises:
        LocalError: the repository was never seeded.
    """
    found = find(session, role, kind)
    if found is None:
        msg = f"this repository has no {role}"
        raise LocalError(msg)
    return found


def publisher_roles(
    session: Session, publisher: str, *, targets: Targets | None = None
) -> PublisherRoles:
    """Return the current roles of one to whom the top-level targets delegate.

    Args:
        session: of the database.
        publisher: its name; the operator's ``YANKED`` splits as a publisher's role.
        targets: the targets that will delegate; None for the current ones.

    Raises:
        LocalError: they delegate nothing to that name.
    """
    above = targets or require(session, TARGETS, Targets).signed
    delegation = delegation_of(above, publisher)
    if delegation is None or above.delegations is None:
        msg = f"these targets delegate nothing to {publisher}"
        raise LocalError(msg)
    return PublisherRoles(
        delegation=delegation,
        keys=above.delegations.keys,
        role=find(session, publisher, Targets),
        load_bin=lambda name: require(session, name, Targets),
    )


def oldest_snapshot(session: Session) -> Snapshot:
    """Return the oldest snapshot that is still served; there is one in every commit."""
    data = session.scalars(
        select(MetadataRow.data)
        .where(MetadataRow.role == SNAPSHOT)
        .order_by(MetadataRow.version)
        .limit(1)
    ).one()
    return _read(data, Snapshot).signed


def version(session: Session, role: str, number: int) -> bytes | None:
    """Return one version of a role, or None."""
    row = session.get(MetadataRow, (role, number))
    return None if row is None else row.data


def trusted_keys(session: Session) -> TrustedKeys:
    """Return the keys that the current top-level targets bring along."""
    return trusted_keys_of(session, require(session, TARGETS, Targets).signed)


def trusted_keys_of(session: Session, targets: Targets) -> TrustedKeys:
    """Return the keys that these targets bring along; they were kept before."""
    sha256 = targets.targets[TRUSTED_KEYS].hashes["sha256"]
    return TrustedKeys.read(small_target(session, TRUSTED_KEYS, sha256) or b"")


def version_in(data: bytes) -> int:
    """Return the version that the file of an accepted role carries."""
    return int(json.loads(data)["signed"]["version"])


def expiry_in(data: bytes) -> datetime:
    """Return when the file of an accepted role expires."""
    return datetime.fromisoformat(json.loads(data)["signed"]["expires"])


def small_target(session: Session, path: str, sha256: str) -> bytes | None:
    """Return a target that is kept in the database, or None."""
    row = session.get(TargetRow, (path, sha256))
    return None if row is None else row.data


def _read(data: bytes, kind: type[T]) -> Metadata[T]:
    """Return a stored role as metadata; it was parsed strictly before it was stored."""
    metadata: Metadata[Any] = Metadata.from_dict(json.loads(data))
    if not isinstance(metadata.signed, kind):
        msg = f"the database holds {metadata.signed.type} under another role's name"
        raise LocalError(msg)
    return metadata
