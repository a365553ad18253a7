"""A tiled transparency log: its entries, checkpoints and tiles, as bytes and paths.

ADR 18.

Source:
    C2SP tlog-checkpoint v1.0.0 and tlog-tiles.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NoReturn, Self

from pydantic import Field

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, MalformedDocumentError, VerificationError
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.statements.jobs import Digest
from model_zoo.transparency.merkle import (
    HASH_BYTES,
    MAX_TREE_SIZE,
    Position,
    leaf_hash,
    node_hash,
)
from model_zoo.transparency.notes import (
    Note,
    VerifierKey,
    from_base64,
    is_key_name,
    sign_text,
    to_base64,
)

TILE_WIDTH = 256
TILE_HEIGHT = 8
MAX_LOGGED_VERSION = 2**53
LOG_PREFIX = "/log/"
CHECKPOINT_PATH = "/log/checkpoint"
WITNESSED_PATH = "/log/witnessed"

_MIN_LINES = 3
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_TILE = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/"
    r"(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?",
    re.ASCII,
)


class LogEntry(Document):
    """What the log says happened: a document of this digest appeared under a name."""

    kind: Literal["metadata", "attestation", "yank", "key"]
    name: Annotated[str, Field(min_length=1, max_length=256)]
    version: Annotated[int, Field(ge=0, le=MAX_LOGGED_VERSION)] | None = None
    sha256: Digest

    def leaf_hash(self) -> bytes:
        """Return the hash under which the log holds this entry."""
        return leaf_hash(self.to_bytes())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's name, how many entries it has, and the root of the tree over them."""

    origin: str
    size: int
    root: bytes

    def to_text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    def signed(self, key: SigningKey) -> Note:
        """Return the note by which the log vouches for this checkpoint.

        Raises:
            InvalidSpecError: the origin cannot name a key.
        """
        if not is_key_name(self.origin):
            msg = "a log's origin is 1 to 256 characters without spaces or +"
            raise InvalidSpecError(msg)
        text = self.to_text()
        return Note(text, (sign_text(text, name=self.origin, key=key),))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the checkpoint that a note's text spells; extension lines are passed.

        Raises:
            MalformedDocumentError: it spells none.
        """
        lines = text.split("\n")
        if len(lines) < _MIN_LINES + 1 or lines.index("") != len(lines) - 1:
            _refuse("expected three lines or more, none of them empty")
        origin, size, root = lines[:_MIN_LINES]
        if _SIZE.fullmatch(size) is None or int(size) > MAX_TREE_SIZE:
            _refuse("expected a size in its second line")
        try:
            hashed = from_base64(root)
        except ValueError:
            _refuse("expected a root hash in its third line")
        if len(hashed) != HASH_BYTES:
            _refuse(f"expected a root hash of {HASH_BYTES} bytes")
        return cls(origin, int(size), hashed)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that its log signed, with the note that shows it."""

    checkpoint: Checkpoint
    note: Note

    @classmethod
    def open(cls, data: bytes, keys: Sequence[PublicKey]) -> Self:
        """Return the checkpoint in ``data``, once a key of its log vouches for it.

        The log signs under its own name: the note's first line.

        Raises:
            MalformedDocumentError: no signed note, or no checkpoint in it.
            VerificationError: none of ``keys`` signed it.
        """
        note = Note.parse(data)
        checkpoint = Checkpoint.parse(note.text)
        if not is_key_name(checkpoint.origin):
            _refuse("its origin cannot name a key")
        by = (VerifierKey(checkpoint.origin, key) for key in keys)
        if not any(note.signed_by(key) for key in by):
            msg = "the checkpoint is not signed by the log's key"
            raise VerificationError(msg)
        return cls(checkpoint, note)


@dataclass(frozen=True, slots=True)
class Tile:
    """Up to 256 consecutive hashes of one level, or the entries below them.

    ``level`` counts tiles, eight levels of the tree each; None means the entries.
    """

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The tile's path below the log's prefix."""
        digits = f"{self.index:03}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "".join(f"x{group}/" for group in groups[:-1]) + groups[-1]
        level = "entries" if self.level is None else self.level
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Return the tile at ``path`` below the log's prefix.

        Raises:
            MalformedDocumentError: no tile has this path.
        """
        match = _TILE.fullmatch(path)
        if match is None:
            msg = f"{path[:80]!a} is no path of a tile"
            raise MalformedDocumentError(msg)
        level = None if match["level"] == "entries" else int(match["level"])
        index = int(match["index"].replace("x", "").replace("/", ""))
        tile = cls(level, index, int(match["width"] or TILE_WIDTH))
        if tile.path != path:
            msg = f"{path[:80]!a} is another spelling of {tile.path}"
            raise MalformedDocumentError(msg)
        return tile


class TileNodes:
    """The nodes of a log of ``size`` entries, out of tiles that somebody serves.

    What they hold is believed by nobody: it makes proofs, and those are checked.
    """

    def __init__(self, size: int, read: Callable[[str], bytes]) -> None:
        self._size = size
        self._read = read
        self._tiles: dict[Tile, bytes] = {}

    def __call__(self, position: Position) -> bytes:
        """Return the hash of a complete subtree.

        Raises:
            VerificationError: the tile is not as long as it must be, or lies outside.
        """
        level, index = position
        tile_level, height = divmod(level, TILE_HEIGHT)
        number, offset = divmod(index << height, TILE_WIDTH)
        data = self._tile(tile_level, number)
        span = data[offset * HASH_BYTES : (offset + (1 << height)) * HASH_BYTES]
        hashes = [span[i : i + HASH_BYTES] for i in range(0, len(span), HASH_BYTES)]
        if len(hashes) != 1 << height:
            msg = f"the log of {self._size} entries has no subtree {position}"
            raise VerificationError(msg)
        while len(hashes) > 1:
            pairs = zip(hashes[::2], hashes[1::2], strict=True)
            hashes = [node_hash(left, right) for left, right in pairs]
        return hashes[0]

    def _tile(self, level: int, number: int) -> bytes:
        complete = self._size >> level * TILE_HEIGHT
        width = max(0, min(TILE_WIDTH, complete - number * TILE_WIDTH))
        tile = Tile(level, number, width)
        if tile not in self._tiles:
            data = self._read(tile.path) if width else b""
            if len(data) != width * HASH_BYTES:
                msg = f"{tile.path}: expected {width} hashes, found {len(data)} bytes"
                raise VerificationError(msg)
            self._tiles[tile] = data
        return self._tiles[tile]


def to_bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries one after the other, each after its length in two bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def from_bundle(data: bytes, *, width: int) -> list[bytes]:
    """Return the ``width`` entries in a bundle; ``to_bundle`` is the inverse.

    Raises:
        MalformedDocumentError: it holds another number of entries, or is cut short.
    """
    entries: list[bytes] = []
    begin = 0
    while begin < len(data) and len(entries) < width:
        length = int.from_bytes(data[begin : begin + 2], "big")
        entries.append(data[begin + 2 : begin + 2 + length])
        begin += 2 + length
    if begin != len(data) or len(entries) != width:
        msg = f"not a bundle of {width} entries"
        raise MalformedDocumentError(msg)
    return entries


def _refuse(why: str) -> NoReturn:
    msg = f"not a checkpoint: {why}"
    raise MalformedDocumentError(msg)
