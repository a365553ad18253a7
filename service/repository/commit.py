"""One step of the repository: roles, snapshot, timestamp and log, all or nothing.

ADR 17: what appears and what is logged is one transaction; ADR 33: it is entered into
the high-water mark before anybody is answered.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, event, func, select
from sqlalchemy.orm import Session
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

from model_zoo.digests import sha256_bytes
from model_zoo.transparency.tlog import LogEntry
from model_zoo.tuf.online import next_snapshot, next_timestamp
from model_zoo.tuf.publisher_roles import sign_roles
from model_zoo.tuf.roles import (
    LIFETIMES,
    PUBLISHER_LIFETIME,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    YANKED,
    expiry,
    parse,
    to_bytes,
)
from service.context import Context
from service.database import transparency
from service.database.tables import MetadataRow, TargetRow
from service.repository import state
from service.repository.index import rebuilt_index, renewed_index
from service.repository.losses import next_version
from service.repository.pending import forget_overtaken
from service.storage.high_water_mark import newest_version

IN_FLIGHT = timedelta(hours=1)
"""How long a version is served that has a successor: a client may be half-way."""


def commit(
    session: Session,
    context: Context,
    roles: Mapping[str, bytes],
    *,
    entries: Iterable[LogEntry] = (),
) -> None:
    """Make ``roles`` current, in the caller's transaction.

    A change that waits and was built upon what they replace waits no longer.

    Args:
        session: commits on its way out, so that clients see all of it or nothing.
        context: keys and clock.
        roles: name -> file of each role that changed, accepted already.
        entries: of this step, for the log, besides those of ``roles``.
    """
    now = context.now()
    logged = [_write(session, name, data, now=now) for name, data in roles.items()]
    # A root is in no snapshot (TUF 5.3); of metadata every entry has a version.
    named = {
        entry.name: MetaFile(entry.version or 1)
        for entry in logged
        if entry.name != ROOT
    }
    forget_overtaken(session, roles)
    _write_snapshot(session, context, named, now=now)
    transparency.append(
        session,
        [*logged, *entries],
        signer=context.keys.log_key,
        origin=context.keys.log_origin,
        now=now,
    )
    # Not before: a crash between the two must not leave the mark ahead of the database.
    event.listen(session, "after_commit", lambda _: mark_served(context), once=True)


def mark_served(context: Context) -> None:
    """Enter the current state into the mark; call it before the state is served."""
    with context.database.reading() as session:
        context.served.keep_up(session)


def seed(session: Session, context: Context) -> None:
    """Write the first version of everything, where there is nothing yet."""
    if state.newest(session, ROOT) is not None:
        return
    keys = context.keys
    targets = parse(keys.targets, Targets).signed
    for path, file in targets.targets.items():
        keep_target(session, path, keys.trusted_keys, sha256=file.hashes["sha256"])
    yanked = Metadata(Targets(expires=expiry(YANKED, context.now())))
    # Not 1 where a database was lost and begun anew: clients have seen others (ADR 33).
    yanked.signed.version = next_version(session, YANKED, current=0)
    signed = sign_roles({YANKED: yanked}, keys.snapshot_key)
    commit(session, context, {ROOT: keys.root, TARGETS: keys.targets, **signed})


def update_index(session: Session, context: Context) -> None:
    """Write the index of withdrawn files anew where an older service wrote it."""
    changed = rebuilt_index(session, context)
    if changed:
        commit(session, context, changed)


def is_due(session: Session, context: Context) -> bool:
    """Whether half of the timestamp's or the snapshot's life is over."""
    now = context.now()
    stamp = state.require(session, TIMESTAMP, Timestamp).signed
    snapshot = state.require(session, SNAPSHOT, Snapshot).signed
    return (
        stamp.expires - now < LIFETIMES[TIMESTAMP] / 2
        or snapshot.expires - now < LIFETIMES[SNAPSHOT] / 2
    )


def refresh(session: Session, context: Context) -> None:
    """Sign timestamp, snapshot and the list of yanks again where it is due.

    The list lives for a year and the snapshot for a week: it is looked at whenever the
    snapshot is signed. None of its bins is older than the role above them.
    """
    now = context.now()
    snapshot = state.require(session, SNAPSHOT, Snapshot).signed
    if snapshot.expires - now < LIFETIMES[SNAPSHOT] / 2:
        yanked = state.require(session, YANKED, Targets).signed
        if yanked.expires - now < PUBLISHER_LIFETIME / 2:
            commit(session, context, renewed_index(session, context))
        else:
            _write_snapshot(session, context, {}, now=now)
    elif is_due(session, context):
        data = state.newest(session, SNAPSHOT) or b""
        _write_timestamp(session, context, data, version=snapshot.version, now=now)
        _forget(session, now=now)


def keep_target(session: Session, path: str, data: bytes, *, sha256: str) -> None:
    """Keep a small target; the same again changes nothing."""
    if session.get(TargetRow, (path, sha256)) is None:
        session.add(TargetRow(path=path, sha256=sha256, data=data))


def entry(kind: str, name: str, data: bytes, *, version: int | None = None) -> LogEntry:
    """Return the log's entry of ``data``: its name, version and digest."""
    return LogEntry.from_object(
        {"kind": kind, "name": name, "version": version, "sha256": sha256_bytes(data)}
    )


def _write(session: Session, name: str, data: bytes, *, now: datetime) -> LogEntry:
    version = state.version_in(data)
    session.add(MetadataRow(role=name, version=version, data=data, created_at=now))
    return entry("metadata", name, data, version=version)


def _write_snapshot(
    session: Session,
    context: Context,
    changed: Mapping[str, MetaFile],
    *,
    now: datetime,
) -> None:
    current = _snapshot_to_follow(session, context)
    following = next_snapshot(current, changed, key=context.keys.snapshot_key, now=now)
    data, version = to_bytes(following), following.signed.version
    session.add(MetadataRow(role=SNAPSHOT, version=version, data=data, created_at=now))
    _write_timestamp(session, context, data, version=version, now=now)
    _forget(session, now=now)


def _snapshot_to_follow(
    session: Session, context: Context
) -> Metadata[Snapshot] | None:
    """Return the current snapshot, under the highest version that was ever served."""
    current, served = state.find(session, SNAPSHOT, Snapshot), context.served.newest
    if served is None:
        return current
    current = current or Metadata(Snapshot(meta={}))
    current.signed.version = max(current.signed.version, served.snapshot)
    return current


def _write_timestamp(
    session: Session, context: Context, snapshot: bytes, *, version: int, now: datetime
) -> None:
    served = context.served.newest
    current = newest_version(session, TIMESTAMP)
    # Above what was served, which may be more than the database knows of (ADR 33).
    number = max(current, 0 if served is None else served.timestamp) + 1
    stamp = next_timestamp(
        number,
        snapshot,
        snapshot_version=version,
        key=context.keys.timestamp_key,
        now=now,
    )
    data = to_bytes(stamp)
    session.add(MetadataRow(role=TIMESTAMP, version=number, data=data, created_at=now))


def _forget(session: Session, *, now: datetime) -> None:
    """Drop every version that no client can be half-way through, but of the root.

    What counts is when a version's successor came, not when it was made itself. Of the
    other roles those are dropped that are older than what the oldest snapshot names.
    """
    session.flush()
    for role in (SNAPSHOT, TIMESTAMP):
        settled = session.scalar(
            select(MetadataRow.version)
            .where(MetadataRow.role == role, MetadataRow.created_at < now - IN_FLIGHT)
            .order_by(MetadataRow.version.desc())
            .limit(1)
        )
        _drop_before(session, role, settled or 0)
    needed = state.oldest_snapshot(session).meta
    several = session.scalars(
        select(MetadataRow.role)
        .where(MetadataRow.role.not_in((ROOT, SNAPSHOT, TIMESTAMP)))
        .group_by(MetadataRow.role)
        .having(func.count() > 1)
    )
    for role in several.all():
        named = needed.get(f"{role}.json")
        _drop_before(session, role, 0 if named is None else named.version)


def _drop_before(session: Session, role: str, version: int) -> None:
    session.execute(
        delete(MetadataRow).where(
            MetadataRow.role == role, MetadataRow.version < version
        )
    )
