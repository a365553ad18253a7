"""A whole log in memory, with a key of its own, that can lie when told to."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs

from model_zoo.errors import NotFoundError
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.transparency.merkle import (
    Position,
    appended,
    inclusion_proof,
    leaf_hash,
    root_hash,
)
from model_zoo.transparency.notes import Note, NoteSignature, cosign_text, to_base64
from model_zoo.transparency.tlog import (
    Checkpoint,
    LogEntry,
    SignedCheckpoint,
    Tile,
    to_bundle,
)

ORIGIN = "verified-model-zoo/0123456789abcdef"
NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)


def entry(number: int, kind: str = "metadata") -> LogEntry:
    return LogEntry.from_object(
        {"kind": kind, "name": "alice", "version": number, "sha256": f"{number:064x}"}
    )


@dataclass
class Log:
    """Entries and what is served of them: ``fetch`` takes the paths of a zoo."""

    key: SigningKey = field(default_factory=SigningKey.generate)
    origin: str = ORIGIN
    entries: list[bytes] = field(default_factory=list)
    nodes: dict[Position, bytes] = field(default_factory=dict)
    cosigned: dict[int, dict[str, NoteSignature]] = field(default_factory=dict)
    shown: int | None = None
    posted: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, *, key: SigningKey | None = None) -> "Log":
        log = cls() if key is None else cls(key=key)
        log.append(*(entry(number) for number in range(count)))
        return log

    @property
    def size(self) -> int:
        return len(self.entries) if self.shown is None else self.shown

    def append(self, *entries: LogEntry) -> None:
        data = [item.to_bytes() for item in entries]
        leaves = map(leaf_hash, data)
        self.nodes |= appended(len(self.entries), leaves, self.nodes.__getitem__)
        self.entries += data

    def signed(self, size: int | None = None) -> Note:
        size = self.size if size is None else size
        root = root_hash(size, self.nodes.__getitem__)
        note = Checkpoint(self.origin, size, root).signed(self.key)
        lines = self.cosigned.get(size, {}).values()
        return Note(note.text, (*note.signatures, *lines))

    def cosign(self, *keys: SigningKey, now: datetime = NOW) -> None:
        text = self.signed().text
        for key in keys:
            line = cosign_text(text, name="witness.example", key=key, now=now)
            self.cosigned.setdefault(self.size, {})[key.public.keyid] = line

    def take(self, note: str, *, witnesses: list[PublicKey]) -> None:
        """Keep the cosignatures of ``witnesses``, as a zoo does."""
        read = Note.parse(note.encode())
        size = Checkpoint.parse(read.text).size
        assert read.text == self.signed(size).text
        for key in witnesses:
            if (line := read.cosignature(key)) is not None:
                self.cosigned.setdefault(size, {})[key.keyid] = line.signature

    def checkpoint(self) -> SignedCheckpoint:
        return SignedCheckpoint.open(self.signed().to_bytes(), [self.key.public])

    def fetch(self, path: str) -> bytes:
        if path == "/log/checkpoint" and self.size:
            return self.signed().to_bytes()
        if path.startswith("/log/witnessed"):
            return self._witnessed(int(path.partition("=")[2] or 1))
        if path.startswith("/api/v1/log/proofs"):
            return self._proofs(parse_qs(path.partition("?")[2]))
        if path.startswith("/log/tile/"):
            return self._tile(Tile.parse(path.removeprefix("/log/")))
        raise NotFoundError(path)

    def _witnessed(self, count: int) -> bytes:
        sizes = [s for s, lines in self.cosigned.items() if len(lines) >= count]
        if not sizes:
            msg = "no witnessed checkpoint"
            raise NotFoundError(msg)
        return self.signed(max(sizes)).to_bytes()

    def _proofs(self, query: dict[str, list[str]]) -> bytes:
        size = int(query["size"][0])
        leaves = [leaf_hash(data).hex() for data in self.entries[:size]]
        items = []
        for leaf in query["leaf"]:
            if leaf not in leaves:
                raise NotFoundError(leaf)
            index = leaves.index(leaf)
            proof = inclusion_proof(index, size, self.nodes.__getitem__)
            items.append({"index": index, "proof": [*map(to_base64, proof)]})
        return json.dumps({"items": items}).encode()

    def _tile(self, tile: Tile) -> bytes:
        begin = tile.index * 256
        if tile.level is None:
            return to_bundle(self.entries[begin : begin + tile.width])
        level = tile.level * 8
        at = range(begin, begin + tile.width)
        return b"".join(self.nodes[level, index] for index in at)


def forked(log: Log, at: int, size: int) -> Log:
    """Return a log under the same key that has other entries from ``at`` on."""
    other = Log(key=log.key)
    other.append(*(LogEntry.from_object(json.loads(e)) for e in log.entries[:at]))
    other.append(*(entry(number + 1000) for number in range(at, size)))
    return other
