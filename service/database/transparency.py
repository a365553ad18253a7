"""The transparency log in the database: entries, the tree over them, checkpoints.

Appending is part of the caller's transaction, so that what is published and what is
logged appear together or not at all. It reads the O(log n) roots of the complete
subtrees, however long the log is.

ADR 18: formats and hashes are C2SP's and RFC 6962's.
"""

import functools
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from model_zoo.clock import CLOCK_SKEW
from model_zoo.errors import (
    InvalidSpecError,
    NotFoundError,
    NotPermittedError,
)
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.transparency.merkle import (
    HASH_BYTES,
    MAX_TREE_SIZE,
    Position,
    appended,
    inclusion_proof,
    leaf_hash,
    peaks,
    root_hash,
)
from model_zoo.transparency.notes import Note
from model_zoo.transparency.tlog import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Checkpoint,
    LogEntry,
    Tile,
    to_bundle,
)
from service.database.tables import (
    CheckpointRow,
    CosignatureRow,
    LogEntryRow,
    LogNodeRow,
)


def append(
    session: Session,
    entries: Iterable[LogEntry],
    *,
    signer: SigningKey,
    origin: str,
    now: datetime,
) -> Checkpoint:
    """Append ``entries`` and return the new checkpoint, which ``signer`` signed.

    Args:
        session: a writing one; the caller commits.
        entries: at least one, in the order in which they happened.
        signer: the log's key.
        origin: the log's name, for good.
        now: when the checkpoint is made.

    Raises:
        ValueError: no entries: the log signs one checkpoint a size.
    """
    data = [entry.to_bytes() for entry in entries]
    if not data:
        msg = "nothing to append to the log"
        raise ValueError(msg)
    size = log_size(session)
    nodes = _nodes(session, peaks(size))
    leaves = [leaf_hash(entry) for entry in data]
    made = appended(size, leaves, nodes.__getitem__)
    rows = [
        {"index": size + i, "leaf_hash": leaf.hex(), "data": entry}
        for i, (leaf, entry) in enumerate(zip(leaves, data, strict=True))
    ]
    session.execute(insert(LogEntryRow), rows)
    session.execute(
        insert(LogNodeRow),
        [{"level": at[0], "index": at[1], "hash": value} for at, value in made.items()],
    )
    size += len(data)
    root = root_hash(size, (nodes | made).__getitem__)
    checkpoint = Checkpoint(origin, size, root)
    note = checkpoint.signed(signer).to_text()
    session.add(CheckpointRow(size=size, note=note, created_at=now))
    session.flush()
    return checkpoint


def log_size(session: Session) -> int:
    """Return the number of entries in the log."""
    return session.scalar(select(func.max(CheckpointRow.size))) or 0


def root_at(session: Session, size: int) -> str | None:
    """Return the root in hex of the log's first ``size`` entries; None if it has less.

    Also of a size that it never signed, or whose checkpoint was lost.
    """
    if size > log_size(session):
        return None
    return root_hash(size, _nodes(session, peaks(size)).__getitem__).hex()


def newest_checkpoint(session: Session) -> Note:
    """Return the newest checkpoint and the cosignatures it has so far.

    Raises:
        NotFoundError: the log is empty.
    """
    return _checkpoint(session, log_size(session))


def witnessed_checkpoint(session: Session, *, cosignatures: int = 1) -> Note:
    """Return the newest checkpoint that so many witnesses cosigned, or more.

    Raises:
        NotFoundError: there is none.
    """
    sizes = (
        select(CosignatureRow.size)
        .group_by(CosignatureRow.size)
        .having(func.count() >= cosignatures)
        .order_by(CosignatureRow.size.desc())
        .limit(1)
    )
    return _checkpoint(session, session.scalar(sizes) or 0)


def tile_data(session: Session, tile: Tile) -> bytes:
    """Return the bytes of a tile, or of a bundle of entries.

    Raises:
        NotFoundError: the log does not fill it.
    """
    if (tile.index + 1) * TILE_WIDTH > MAX_TREE_SIZE:
        raise _no_tile(tile)
    begin = tile.index * TILE_WIDTH
    if tile.level is None:
        entries = session.scalars(
            select(LogEntryRow.data)
            .where(LogEntryRow.index.between(begin, begin + tile.width - 1))
            .order_by(LogEntryRow.index)
        ).all()
        data, is_full = to_bundle(entries), len(entries) == tile.width
    else:
        hashes = session.scalars(
            select(LogNodeRow.hash)
            .where(
                LogNodeRow.level == tile.level * TILE_HEIGHT,
                LogNodeRow.index.between(begin, begin + tile.width - 1),
            )
            .order_by(LogNodeRow.index)
        ).all()
        data = b"".join(hashes)
        is_full = len(data) == tile.width * HASH_BYTES
    if not is_full:
        raise _no_tile(tile)
    return data


def index_of(session: Session, hashed: str) -> int:
    """Return where the log first has the entry of this leaf hash, in hex.

    Raises:
        NotFoundError: it has none.
    """
    index = session.scalar(
        select(func.min(LogEntryRow.index)).where(LogEntryRow.leaf_hash == hashed)
    )
    if index is None:
        msg = "the log has no such entry"
        raise NotFoundError(msg)
    return index


def leaf_proofs(
    session: Session, hashed: Iterable[str], *, size: int
) -> list[tuple[int, list[bytes]]]:
    """Return index and inclusion proof of leaves in the log's first ``size`` entries.

    Raises:
        NotFoundError: one of them is not there, or the log is shorter.
    """
    if size > log_size(session):
        msg = f"the log has no {size} entries"
        raise NotFoundError(msg)
    nodes = functools.partial(_node, session)
    proofs = []
    for leaf in hashed:
        index = index_of(session, leaf)
        if index >= size:
            msg = f"the entry is not among the log's first {size}"
            raise NotFoundError(msg)
        proofs.append((index, inclusion_proof(index, size, nodes)))
    return proofs


def accept_cosignature(
    session: Session, note: Note, *, witnesses: Sequence[PublicKey], now: datetime
) -> int:
    """Keep the cosignatures of ``witnesses`` in ``note``; return the log's size in it.

    A witness's line replaces its older one: it says that it looked again.

    Raises:
        NotFoundError: the log never signed that checkpoint.
        NotPermittedError: none of ``witnesses`` cosigned it.
        InvalidSpecError: cosigned in the future, which would lock clients out.
        VerificationError: a line is not by the key that it names.
    """
    size = Checkpoint.parse(note.text).size
    ours = session.get(CheckpointRow, size)
    if ours is None or Note.parse(ours.note.encode()).text != note.text:
        msg = f"this log signed no such checkpoint of {size} entries"
        raise NotFoundError(msg)
    found = [key for key in witnesses if _keep_line(session, note, size, key, now)]
    if not found:
        msg = "none of this zoo's witnesses cosigned this checkpoint"
        raise NotPermittedError(msg)
    return size


def _keep_line(
    session: Session, note: Note, size: int, key: PublicKey, now: datetime
) -> bool:
    line = note.cosignature(key)
    if line is None:
        return False
    if line.time > now + CLOCK_SKEW:
        msg = f"cosigned at {line.time:%Y-%m-%d %H:%M}Z, which is yet to come"
        raise InvalidSpecError(msg)
    row = session.get(CosignatureRow, (size, key.keyid))
    if row is None:
        row = CosignatureRow(size=size, keyid=key.keyid, created_at=line.time, line="")
        session.add(row)
    elif row.created_at > line.time:
        return True
    row.line, row.created_at = line.signature.to_line(), line.time
    return True


def _checkpoint(session: Session, size: int) -> Note:
    row = session.get(CheckpointRow, size)
    if row is None:
        msg = "the log has no such checkpoint yet"
        raise NotFoundError(msg)
    lines = session.scalars(
        select(CosignatureRow.line)
        .where(CosignatureRow.size == size)
        .order_by(CosignatureRow.keyid)
    ).all()
    return Note.parse((row.note + "".join(f"{line}\n" for line in lines)).encode())


def _nodes(session: Session, positions: Sequence[Position]) -> dict[Position, bytes]:
    # Two lists, not one of pairs: for pairs SQLite would read the whole table.
    rows = session.execute(
        select(LogNodeRow.level, LogNodeRow.index, LogNodeRow.hash).where(
            LogNodeRow.level.in_({level for level, _ in positions}),
            LogNodeRow.index.in_({index for _, index in positions}),
        )
    )
    wanted = frozenset(positions)
    return {
        (level, index): value
        for level, index, value in rows
        if (level, index) in wanted
    }


def _node(session: Session, position: Position) -> bytes:
    return session.get_one(LogNodeRow, position).hash


def _no_tile(tile: Tile) -> NotFoundError:
    return NotFoundError(f"the log has no {tile.path}")
