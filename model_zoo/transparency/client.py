"""The client's side of the transparency log: what it asks, checks and takes along.

That something is in the log does not make it good. It makes it seen: whoever signs
two different things for two readers has to put both where everybody looks.

ADR 18.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field
from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

from model_zoo.clock import CLOCK_SKEW
from model_zoo.documents import Document
from model_zoo.errors import (
    ExpiredMetadataError,
    InvalidSpecError,
    MalformedDocumentError,
    NotFoundError,
    PolicyNotMetError,
    VerificationError,
)
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.transparency.memory import LogFetch, LogMemory, opened, require_apart
from model_zoo.transparency.merkle import verify_inclusion
from model_zoo.transparency.notes import MAX_NOTE_BYTES, from_base64
from model_zoo.transparency.tlog import (
    CHECKPOINT_PATH,
    WITNESSED_PATH,
    LogEntry,
    SignedCheckpoint,
)

MEMORY_NAME = "log-checkpoint.note"
PROOFS_PATH = "/api/v1/log/proofs"
MAX_LEAVES = 64
"""How many proofs are asked for at once; a URL has to hold their leaf hashes."""
MAX_ANSWER_BYTES = 512 * 1024
"""Of a note, a tile of hashes, or MAX_LEAVES proofs, each of which is shorter."""
MAX_ENTRIES = 1024
MAX_PROOF_HASHES = 63
_HASH_CHARACTERS = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTrust:
    """Which log counts, whose cosignatures count, and how many of those it takes.

    ``retired`` keys of the log count for what this client remembers, and nowhere else.

    Raises:
        InvalidSpecError: no log key, one that is retired as well, a witness twice, or
            more cosignatures than witnesses.
    """

    origin: str
    keys: tuple[PublicKey, ...]
    retired: tuple[PublicKey, ...] = ()
    witnesses: tuple[PublicKey, ...] = ()
    cosignatures: int = 0

    def __post_init__(self) -> None:
        if not self.keys:
            msg = "a log without a key cannot be believed"
            raise InvalidSpecError(msg)
        require_apart(self.keys, self.retired)
        if len(set(self.witnesses)) != len(self.witnesses):
            msg = "one witness is listed twice"
            raise InvalidSpecError(msg)
        if not 0 <= self.cosignatures <= len(self.witnesses):
            msg = (
                f"{self.cosignatures} cosignatures of {len(self.witnesses)} pinned "
                "witnesses can never be had"
            )
            raise InvalidSpecError(msg)


class LeafProof(Document):
    """Where the log has a leaf, and the hashes, in base64, that show it."""

    index: Annotated[int, Field(ge=0)]
    proof: Annotated[
        tuple[Annotated[str, Field(max_length=_HASH_CHARACTERS)], ...],
        Field(max_length=MAX_PROOF_HASHES),
    ]


class LeafProofs(Document):
    """What a zoo answers who asks for proofs: one for each leaf, in the same order."""

    items: Annotated[tuple[LeafProof, ...], Field(max_length=MAX_LEAVES)]


class LoggedEntry(LeafProof):
    """An entry, where the log has it, and the hashes that show it."""

    entry: LogEntry

    def verify(self, signed: SignedCheckpoint) -> None:
        """Accept that the log of ``signed`` holds the entry.

        Raises:
            VerificationError: the proof does not show it.
        """
        try:
            hashes = [from_base64(text) for text in self.proof]
        except ValueError as error:
            msg = f"a proof of the log: {error}"
            raise MalformedDocumentError(msg) from error
        verify_inclusion(
            self.entry.leaf_hash(),
            hashes,
            index=self.index,
            size=signed.checkpoint.size,
            root=signed.checkpoint.root,
        )


class LogEvidence(Document):
    """All it takes to show, years later and offline, that entries were in the log."""

    format: Literal[1] = 1
    checkpoint: Annotated[str, Field(max_length=MAX_NOTE_BYTES)]
    entries: Annotated[tuple[LoggedEntry, ...], Field(max_length=MAX_ENTRIES)]

    @classmethod
    def read(cls, value: object) -> Self:
        """Return the evidence that JSON values from anyone spell, not yet verified.

        Raises:
            MalformedDocumentError: they spell none.
        """
        try:
            return cls.from_object(value)
        except ValueError as error:
            msg = f"not evidence of a log: {error}"
            raise MalformedDocumentError(msg) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessedLog:
    """What the evidence shows.

    Attributes:
        size: entries in the log then.
        witnesses: keyids of the pinned witnesses that cosigned.
        witnessed_at: the latest moment to which as many witnesses as were asked for
            attest, so that no fewer of them can postpone it; None if none was
            asked for and none cosigned.
    """

    size: int
    witnesses: frozenset[str]
    witnessed_at: datetime | None


def gather_evidence(
    fetch: LogFetch,
    entries: Iterable[LogEntry],
    *,
    trust: LogTrust,
    cache: Path,
    now: datetime,
) -> LogEvidence:
    """Return evidence, verified, that the log holds ``entries`` and forgot nothing.

    The checkpoint is remembered in ``cache``, and the next one has to extend it.

    Raises:
        PolicyNotMetError: too few pinned witnesses cosigned, or an entry is not in
            the log yet.
        ExpiredMetadataError: this machine's clock is behind a witness's.
        RollbackError: the log was longer before.
        SplitViewError: the log signed two histories; both notes are in ``cache``.
        VerificationError: anything else that cannot be believed.
        LocalError: the cache cannot be written.
        TransportError: the zoo was not reached.
    """
    wanted = list(dict.fromkeys(entries))
    signed = _newest(fetch, trust)
    _times(signed, trust=trust, now=now)
    _memory(cache, trust).accept(signed, fetch)
    evidence = LogEvidence(
        checkpoint=signed.note.to_text(),
        entries=tuple(
            logged
            for some in _batched(wanted, MAX_LEAVES)
            for logged in _proved(some, size=signed.checkpoint.size, fetch=fetch)
        ),
    )
    verify_evidence(evidence, wanted, trust=trust, now=now)
    return evidence


def verify_evidence(
    evidence: LogEvidence,
    entries: Iterable[LogEntry],
    *,
    trust: LogTrust,
    now: datetime,
) -> WitnessedLog:
    """Return what ``evidence`` shows, if it shows that the log holds all ``entries``.

    Raises:
        PolicyNotMetError: it is not about one of the entries, or too few pinned
            witnesses cosigned.
        ExpiredMetadataError: this machine's clock is behind a witness's.
        VerificationError: a signature or a proof does not hold.
    """
    signed = _opened(evidence.checkpoint.encode(), trust)
    times = _times(signed, trust=trust, now=now)
    shown = {item.entry: item for item in evidence.entries}
    for entry in entries:
        if entry not in shown:
            msg = f"no evidence that {_named(entry)} is in the log"
            raise PolicyNotMetError(msg)
        shown[entry].verify(signed)
    newest_first = sorted(times.values(), reverse=True)
    needed = max(1, trust.cosignatures)
    return WitnessedLog(
        size=signed.checkpoint.size,
        witnesses=frozenset(times),
        witnessed_at=newest_first[needed - 1] if newest_first else None,
    )


def log_reader(fetcher: FetcherInterface, url: str) -> LogFetch:
    """Return how to read the log of the zoo at ``url`` through a TUF fetcher."""

    def fetch(path: str) -> bytes:
        try:
            return fetcher.download_bytes(url.rstrip("/") + path, MAX_ANSWER_BYTES)
        except DownloadHTTPError as error:
            msg = f"{path}: the zoo has no such file"
            raise NotFoundError(msg) from error
        except DownloadLengthMismatchError as error:
            msg = f"{path}: longer than any note, tile or proof of a log"
            raise MalformedDocumentError(msg) from error

    return fetch


def _newest(fetch: LogFetch, trust: LogTrust) -> SignedCheckpoint:
    if not trust.cosignatures:
        return _opened(fetch(CHECKPOINT_PATH), trust)
    try:
        data = fetch(f"{WITNESSED_PATH}?cosignatures={trust.cosignatures}")
    except NotFoundError as error:
        msg = f"no checkpoint of the log has {trust.cosignatures} cosignatures yet"
        raise PolicyNotMetError(msg) from error
    return _opened(data, trust)


def _opened(data: bytes, trust: LogTrust) -> SignedCheckpoint:
    signed = opened(data, trust.keys, trust.retired)
    if signed.checkpoint.origin != trust.origin:
        found = signed.checkpoint.origin
        msg = f"expected a checkpoint of {trust.origin!a}, found {found!a}"
        raise VerificationError(msg)
    return signed


def _times(
    signed: SignedCheckpoint, *, trust: LogTrust, now: datetime
) -> dict[str, datetime]:
    """Return when each pinned witness cosigned, by keyid, if enough of them did."""
    found = {key.keyid: signed.note.cosignature(key) for key in trust.witnesses}
    times = {keyid: line.time for keyid, line in found.items() if line is not None}
    if len(times) < trust.cosignatures:
        msg = (
            f"the log's checkpoint is cosigned by {len(times)} of the pinned "
            f"witnesses, {trust.cosignatures} needed"
        )
        raise PolicyNotMetError(msg)
    for time in times.values():
        if now + CLOCK_SKEW < time:
            here = now.astimezone(UTC)
            msg = (
                f"this machine's clock says {here:%Y-%m-%d %H:%M}Z and a witness has "
                f"signed at {time:%Y-%m-%d %H:%M}Z: set the clock right"
            )
            raise ExpiredMetadataError(msg)
    return times


def _memory(cache: Path, trust: LogTrust) -> LogMemory:
    """Return the cache's memory; one that cannot be believed is put aside."""
    memory = LogMemory(cache / MEMORY_NAME, trust.keys, trust.retired)
    try:
        memory.last()
    except VerificationError:
        with suppress(OSError):
            memory.path.replace(memory.path.with_suffix(".damaged"))
    return memory


def _proved(
    entries: Sequence[LogEntry], *, size: int, fetch: LogFetch
) -> Iterator[LoggedEntry]:
    """Yield entries with the proofs that the zoo gives for them, not yet verified."""
    leaves = "".join(f"&leaf={entry.leaf_hash().hex()}" for entry in entries)
    try:
        data = fetch(f"{PROOFS_PATH}?size={size}{leaves}")
        proofs = LeafProofs.from_bytes(data, limit_bytes=MAX_ANSWER_BYTES)
        pairs = list(zip(entries, proofs.items, strict=True))
    except NotFoundError as error:
        msg = (
            f"the log's first {size} entries, that you may believe, lack one of "
            f"{', '.join(map(_named, entries))}; if it is new, try again in a minute"
        )
        raise PolicyNotMetError(msg) from error
    except ValueError as error:
        msg = f"not the proofs that were asked for: {error}"
        raise MalformedDocumentError(msg) from error
    for entry, found in pairs:
        yield LoggedEntry(entry=entry, index=found.index, proof=found.proof)


def _batched(entries: Sequence[LogEntry], count: int) -> Iterator[Sequence[LogEntry]]:
    for begin in range(0, len(entries), count):
        yield entries[begin : begin + count]


def _named(entry: LogEntry) -> str:
    version = "" if entry.version is None else f" version {entry.version}"
    return f"{entry.kind} {entry.name!a}{version}"
