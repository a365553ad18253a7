"""What clients read of the repository: metadata, small targets and the log.

ADR 33: what a client remembers a state by (a timestamp, a root, a checkpoint) is shown
only after that state is entered into the high-water mark.
"""

import re
from collections.abc import Iterable

from model_zoo.errors import NotFoundError
from model_zoo.transparency.notes import Note
from model_zoo.transparency.tlog import Tile
from model_zoo.tuf.roles import ROOT, TIMESTAMP
from service.context import Context
from service.database import transparency
from service.repository import losses, state

TIMESTAMP_FILE = f"{TIMESTAMP}.json"
"""The one file of metadata whose name has no version: clients ask for it anew."""
_VERSIONED = re.compile(r"([1-9][0-9]{0,9})\.([a-z0-9._~-]{1,96})\.json", re.ASCII)


def metadata_file(context: Context, name: str) -> bytes:
    """Return one version of a role, or the newest timestamp.

    Raises:
        NotFoundError: there is none of that name.
    """
    match = _VERSIONED.fullmatch(name)
    data = None
    with context.database.reading() as session:
        # A client's memory of a state begins with these two.
        if name == TIMESTAMP_FILE or name.endswith(f".{ROOT}.json"):
            context.served.keep_up(session)
        if name == TIMESTAMP_FILE:
            data = state.newest(session, TIMESTAMP)
        elif match is not None and match[2] != TIMESTAMP:
            data = state.version(session, match[2], int(match[1]))
    if data is None:
        msg = f"no metadata {name[:80]!a}"
        raise NotFoundError(msg)
    return data


def small_target(context: Context, path: str, sha256: str) -> bytes | None:
    """Return a target that is kept in the database, or None."""
    with context.database.reading() as session:
        return state.small_target(session, path, sha256)


def lost_versions(context: Context) -> dict[str, int]:
    """Return role -> newest version that was served and lost."""
    with context.database.reading() as session:
        return losses.lost_versions(session)


def newest_checkpoint(context: Context) -> Note:
    """Return the log's newest checkpoint, with what cosignatures it has.

    Raises:
        NotFoundError: the log is empty.
    """
    with context.database.reading() as session:
        context.served.keep_up(session)
        return transparency.newest_checkpoint(session)


def witnessed_checkpoint(context: Context, *, cosignatures: int) -> Note:
    """Return the newest checkpoint that so many witnesses cosigned, or more.

    Raises:
        NotFoundError: there is none.
    """
    with context.database.reading() as session:
        context.served.keep_up(session)
        return transparency.witnessed_checkpoint(session, cosignatures=cosignatures)


def tile_data(context: Context, tile: Tile) -> bytes:
    """Return the bytes of a tile of the log, or of a bundle of its entries.

    Raises:
        NotFoundError: the log does not fill it.
    """
    with context.database.reading() as session:
        return transparency.tile_data(session, tile)


def index_of(context: Context, leaf_hash: str) -> int:
    """Return where the log first has the entry of this leaf hash, in hex.

    Raises:
        NotFoundError: it has none.
    """
    with context.database.reading() as session:
        return transparency.index_of(session, leaf_hash)


def leaf_proofs(
    context: Context, leaves: Iterable[str], *, size: int
) -> list[tuple[int, list[bytes]]]:
    """Return index and inclusion proof of leaves in the log's first ``size`` entries.

    Raises:
        NotFoundError: one of them is not there, or the log is shorter.
    """
    with context.database.reading() as session:
        return transparency.leaf_proofs(session, leaves, size=size)


def accept_cosignature(context: Context, note: Note) -> int:
    """Keep what this zoo's witnesses cosigned in ``note``; return the log's size in it.

    Raises:
        NotFoundError: the log never signed that checkpoint.
        NotPermittedError: none of the zoo's witnesses cosigned it.
        InvalidSpecError: cosigned in the future.
        VerificationError: a line is not by the key that it names.
    """
    with context.database.writing() as session:
        return transparency.accept_cosignature(
            session,
            note,
            witnesses=state.trusted_keys(session).witness_keys(),
            now=context.now(),
        )
