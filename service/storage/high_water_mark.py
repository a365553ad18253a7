"""The newest state that clients may have seen: a high-water mark beside the keys.

It lies where the keys do, and not in the data folder, which a backup restores. A state
is committed first, then entered here, and only then served: the mark is never ahead of
what a crash leaves, nor behind what a client has seen.

The file is appended to: the log's new entries, each on a line as the log holds it, then
a line that says which state they belong to. What a publish adds does not depend on how
much was published before.

ADR 33.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from model_zoo.documents import Document
from model_zoo.errors import LocalError
from model_zoo.tuf.roles import ROOT, SNAPSHOT, TIMESTAMP
from service.database.tables import LogEntryRow, MetadataRow
from service.database.transparency import log_size, root_at
from service.storage.blobs import sync_directory, translate_errors

SERVED_FILE = "served.jsonl"
_STATE = b'{"log_root":'
"""How the line of a state begins in canonical JSON, and no entry of the log."""
_MAX_STATE_BYTES = 1024

Count = Annotated[int, Field(ge=0)]


class Served(Document):
    """One state of the repository, by the numbers that clients remember of it.

    Every step signs a new timestamp: its version numbers the states.
    """

    timestamp: Count
    snapshot: Count
    root: Count
    log_size: Count
    log_root: str

    @classmethod
    def of(cls, session: Session) -> Self:
        """Return the state that ``session`` sees; all zero before the first."""
        size = log_size(session)
        return cls(
            timestamp=newest_version(session, TIMESTAMP),
            snapshot=newest_version(session, SNAPSHOT),
            root=newest_version(session, ROOT),
            log_size=size,
            log_root=root_at(session, size) or "",
        )


class HighWaterMark:
    """The newest state that was served, and the log up to it; safe between threads."""

    def __init__(self, path: Path) -> None:
        """Read the mark at ``path``, where there may be none yet.

        Raises:
            LocalError: it cannot be read.
        """
        self._path = path
        self._lock = threading.Lock()
        with translate_errors(f"cannot read {path}"):
            line, self._end = _last_state(path)
        self.newest: Served | None = None if line is None else _read(path, line)

    def keep_up(self, session: Session) -> None:
        """Enter the state that ``session`` sees, unless a newer one is entered.

        Call it before anything is served by which a client believes that state.

        Raises:
            LocalError: it cannot be written; then the state must not be served.
        """
        if not self._is_behind(session):
            return
        with self._lock, translate_errors(f"cannot write {self._path}"):
            if self._is_behind(session):
                state = Served.of(session)
                self._append(session, state)
                self.newest = state

    def entries(self, since: int) -> list[bytes]:
        """Return the log's entries from index ``since`` to the mark.

        Raises:
            LocalError: the file cannot be read.
        """
        with translate_errors(f"cannot read {self._path}"):
            lines = (line for line in _lines(self._path) if _is_entry(line))
            entries = [line[:-1] for i, line in enumerate(lines) if i >= since]
        return entries[: (self.newest.log_size if self.newest else 0) - since]

    def _is_behind(self, session: Session) -> bool:
        seen = 0 if self.newest is None else self.newest.timestamp
        return newest_version(session, TIMESTAMP) > seen

    def _append(self, session: Session, state: Served) -> None:
        is_new = not self._path.exists()
        if is_new or self._path.stat().st_size < self._end:
            self.newest, self._end = None, 0  # taken away or cut: all of it again
        known = 0 if self.newest is None else self.newest.log_size
        entries = session.scalars(
            select(LogEntryRow.data)
            .where(LogEntryRow.index.between(known, state.log_size - 1))
            .order_by(LogEntryRow.index)
            .execution_options(yield_per=1000)
        )
        # A link in this place would have us write, as owner of the keys, elsewhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path, flags, 0o600), "r+b") as file:
            file.truncate(self._end)  # what a write that broke off left behind
            file.seek(self._end)
            file.writelines(entry + b"\n" for entry in entries)
            file.write(state.to_bytes() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._end = file.tell()
        if is_new:
            sync_directory(self._path.parent)


def newest_version(session: Session, role: str) -> int:
    """Return the newest version of a role, 0 if it has none."""
    found = session.scalar(
        select(func.max(MetadataRow.version)).where(MetadataRow.role == role)
    )
    return found or 0


def _last_state(path: Path) -> tuple[bytes | None, int]:
    """Return the last line that tells a state, and where it ends."""
    newest, end, position = None, 0, 0
    for line in _lines(path):
        position += len(line)
        if line.startswith(_STATE):
            newest, end = line, position
    return newest, end


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file; a last one that broke off is not one."""
    if not path.exists():
        return
    with path.open("rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _is_entry(line: bytes) -> bool:
    return not line.startswith(_STATE)


def _read(path: Path, line: bytes) -> Served:
    try:
        return Served.from_bytes(line, limit_bytes=_MAX_STATE_BYTES)
    except ValueError as error:
        msg = f"{path} is damaged, put it back from a backup: {error}"
        raise LocalError(msg) from error
