"""A state older than one that was served: refused, or accepted with what was lost.

A database from an old backup looks to clients like an attack, and would let other
content appear under versions that they have seen. What was lost is known from the mark
beside the keys: the log's entries, each with a name and a digest.

ADR 33.
"""

import logging
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from model_zoo.digests import sha256_bytes
from model_zoo.errors import ConflictError, LocalError
from model_zoo.transparency.tlog import LogEntry
from service.context import Context
from service.database import transparency
from service.database.tables import LostEntryRow
from service.storage.high_water_mark import SERVED_FILE, Served

log = logging.getLogger(__name__)

METADATA, ATTESTATION, YANK, KEY = "metadata", "attestation", "yank", "key"
_MAX_ENTRY_BYTES = 1024
_NAMED = 8
"""How many of what was lost a message names."""


def take_over_losses(session: Session, context: Context) -> bool:
    """Accept the state in the database; return whether it is older than was served.

    Where the operator accepts the loss, the log gets back the entries that it lost, so
    that clients see it go on, and what was lost is remembered by name.

    Raises:
        LocalError: it is older and nobody accepted that, or it is of another history.
    """
    served = context.served.newest
    if served is None:
        return False
    found = Served.of(session)
    if found.log_size >= served.log_size:
        _require_same_history(session, context, served)
    if _reaches(found, served):
        return False
    entries = _lost_entries(context, found, served)
    if context.settings.accept_loss != served.timestamp:
        raise LocalError(_refusal(context, found, served, entries))
    _remember(session, entries, since=found.log_size)
    if entries:
        transparency.append(
            session,
            entries,
            signer=context.keys.log_key,
            origin=context.keys.log_origin,
            now=context.now(),
        )
        _require_same_history(session, context, served)
    log.warning("the loss is accepted: %s", _summary(entries))
    return True


def next_version(session: Session, role: str, *, current: int) -> int:
    """Return the version after ``current`` that was never served."""
    return max(current, _lost_version(session, role)) + 1


def lost_versions(session: Session) -> dict[str, int]:
    """Return role -> newest version that was served and lost."""
    rows = session.execute(
        select(LostEntryRow.name, func.max(LostEntryRow.version))
        .where(LostEntryRow.kind == METADATA)
        .group_by(LostEntryRow.name)
    )
    return {name: version for name, version in rows if version is not None}


def require_next(
    session: Session, role: str, data: bytes, *, version: int, current: int
) -> None:
    """Accept the next version of a role: never other content under one that was served.

    Args:
        session: sees what was lost.
        role: its name.
        data: its file.
        version: what the file says.
        current: the version that is current, 0 for none.

    Raises:
        ConflictError: not the next version.
    """
    following = next_version(session, role, current=current)
    lost = following - 1 if following > current + 1 else 0
    # The lost bytes themselves may come back: clients have seen nothing else.
    if version == following or (
        version == current + 1 and _was_served(session, METADATA, role, data)
    ):
        return
    if lost:
        msg = (
            f"{role}: version {lost} was served before this zoo lost its newest state: "
            f"expected version {following} or what was lost, found {version}"
        )
    else:
        msg = (
            f"{role}: expected version {following}, found {version}; somebody was "
            "faster: build it again"
        )
    raise ConflictError(msg)


def require_not_other(
    session: Session, role: str, data: bytes, *, version: int
) -> None:
    """Accept a root, whose versions cannot be skipped: one that was lost, or a new one.

    Raises:
        ConflictError: it is another than the one that was served under its version.
    """
    if version <= _lost_version(session, role) and not _was_served(
        session, METADATA, role, data
    ):
        msg = f"{role}: another version {version} was served: hand in that one again"
        raise ConflictError(msg)


def require_not_lost(session: Session, release: str, statement: bytes) -> None:
    """Accept a release unless another one of its name was served and lost.

    Raises:
        ConflictError: it was withdrawn, or published with another statement.
    """
    if _is_lost(session, YANK, release):
        msg = f"{release} was withdrawn; there is no un-yank: choose another version"
        raise ConflictError(msg)
    if _is_lost(session, ATTESTATION, release) and not _was_served(
        session, ATTESTATION, release, statement
    ):
        msg = f"{release} was published with other content; choose another version"
        raise ConflictError(msg)


def require_not_anothers(session: Session, publisher: str, keyid: str) -> None:
    """Accept a new publisher unless its name had another key that was lost.

    Raises:
        ConflictError: it was bound to another key.
    """
    if _is_lost(session, KEY, publisher) and not _was_served(
        session, KEY, publisher, keyid.encode()
    ):
        msg = f"publisher {publisher} was bound to another key before that was lost"
        raise ConflictError(msg)


def is_lost_withdrawal(session: Session, release: str) -> bool:
    """Whether the release was withdrawn, and the notice was lost since."""
    return _is_lost(session, YANK, release)


def _lost_entries(context: Context, found: Served, served: Served) -> list[LogEntry]:
    """Return the log's entries that the database lacks.

    Raises:
        LocalError: the mark does not hold them.
    """
    path = context.keys.folder / SERVED_FILE
    damaged = f"{path} is damaged, put it back from a backup"
    lost = context.served.entries(found.log_size)
    if len(lost) < served.log_size - found.log_size:
        msg = (
            f"{damaged}: it holds {len(lost)} entries after the first {found.log_size}"
        )
        raise LocalError(msg)
    try:
        return [LogEntry.from_bytes(it, limit_bytes=_MAX_ENTRY_BYTES) for it in lost]
    except ValueError as error:
        msg = f"{damaged}: {error}"
        raise LocalError(msg) from error


def _require_same_history(session: Session, context: Context, served: Served) -> None:
    """Accept a log that goes on from what was served, or ends there."""
    if transparency.root_at(session, served.log_size) != served.log_root:
        msg = (
            f"the database in {context.settings.data_dir} tells another history than "
            f"the one that {context.keys.folder / SERVED_FILE} says was served: it "
            "belongs to other keys, or two services ran with these; restore the copy "
            "that belongs to them"
        )
        raise LocalError(msg)


def _reaches(found: Served, served: Served) -> bool:
    return (
        found.timestamp >= served.timestamp
        and found.snapshot >= served.snapshot
        and found.root >= served.root
        and found.log_size >= served.log_size
    )


def _refusal(
    context: Context, found: Served, served: Served, entries: Iterable[LogEntry]
) -> str:
    return (
        f"the database in {context.settings.data_dir} is older than what was served: "
        f"found timestamp {found.timestamp} and {found.log_size} entries of the log, "
        f"expected {served.timestamp} and {served.log_size}, as "
        f"{context.keys.folder / SERVED_FILE} says. Lost: {_summary(entries)}. Restore "
        "the newest copy of the data folder; if there is none, read how to run a zoo "
        f"on what follows, and start once with --accept-loss {served.timestamp}"
    )


def _summary(entries: Iterable[LogEntry]) -> str:
    """Return a list, for people, of what was lost: withdrawals first."""
    names = dict.fromkeys(
        f"{'the withdrawal of ' if it.kind == YANK else ''}{it.name}"
        + (f" version {it.version}" if it.kind == METADATA else "")
        for it in sorted(entries, key=lambda it: (it.kind != YANK, it.kind))
    )
    shown = ", ".join(list(names)[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{shown}{more}" if names else "signatures of the service only"


def _remember(session: Session, entries: Iterable[LogEntry], *, since: int) -> None:
    session.add_all(
        LostEntryRow(
            index=since + i,
            kind=entry.kind,
            name=entry.name,
            version=entry.version,
            sha256=entry.sha256,
        )
        for i, entry in enumerate(entries)
    )
    session.flush()


def _lost_version(session: Session, role: str) -> int:
    found = session.scalar(
        select(func.max(LostEntryRow.version)).where(
            LostEntryRow.name == role, LostEntryRow.kind == METADATA
        )
    )
    return found or 0


def _is_lost(session: Session, kind: str, name: str) -> bool:
    found = select(LostEntryRow.index).where(
        LostEntryRow.name == name, LostEntryRow.kind == kind
    )
    return session.scalar(found.limit(1)) is not None


def _was_served(session: Session, kind: str, name: str, data: bytes) -> bool:
    found = select(LostEntryRow.index).where(
        LostEntryRow.name == name,
        LostEntryRow.kind == kind,
        LostEntryRow.sha256 == sha256_bytes(data),
    )
    return session.scalar(found.limit(1)) is not None
