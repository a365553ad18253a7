"""The rules of a repository's log: it lists every version, each with one file.

The log is read as a monitor reads it, from its first entry to its last. Whoever signs
a role for one reader alone has either left it out, or has logged two of one version.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from model_zoo.digests import sha256_bytes
from model_zoo.errors import NotFoundError, VerificationError
from model_zoo.repository_checks.observe import Finding, Repository, failure
from model_zoo.transparency.memory import LogFetch, opened
from model_zoo.transparency.merkle import Position, appended, leaf_hash, root_hash
from model_zoo.transparency.notes import Note
from model_zoo.transparency.tlog import (
    CHECKPOINT_PATH,
    LOG_PREFIX,
    TILE_WIDTH,
    Checkpoint,
    LogEntry,
    Tile,
    from_bundle,
)
from model_zoo.tuf.roles import ROOT
from model_zoo.tuf.trusted_keys import TrustedKeys

LOG = "log"
"""Stands where findings name a role."""
_MAX_ENTRY_BYTES = 0xFFFF
"""What two bytes of length in a bundle can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReader:
    """How to read a log, and how long it said it was before the roles were read."""

    fetch: LogFetch
    size_before: int

    @classmethod
    def open(cls, fetch: LogFetch) -> "LogReader":
        """Return a reader; call this before the repository is observed.

        What the log holds by now, the repository has to show; what is added later
        need not be in it.
        """
        try:
            note = Note.parse(fetch(CHECKPOINT_PATH))
            return cls(fetch=fetch, size_before=Checkpoint.parse(note.text).size)
        except (NotFoundError, VerificationError):
            return cls(fetch=fetch, size_before=0)


def log_findings(reader: LogReader, repository: Repository) -> Iterator[Finding]:
    """Yield what is wrong with the log, or with the repository going by it."""
    if not repository.trusted.log:
        return
    try:
        entries = _entries(reader.fetch, repository.trusted)
    except (NotFoundError, VerificationError) as error:
        yield failure("log", LOG, str(error))
        return
    yield from _not_logged(repository, entries)
    yield from _equivocations(entries)
    yield from _freezes(repository, entries[: reader.size_before])


def _entries(fetch: LogFetch, trusted: TrustedKeys) -> list[LogEntry]:
    """Return all entries, if together they have the root that the log signed.

    Raises:
        VerificationError: they do not, or are no entries.
        NotFoundError: a part of the log is not served.
    """
    keys, retired = trusted.log_keys(), trusted.retired_log_keys()
    checkpoint = opened(fetch(CHECKPOINT_PATH), keys, retired).checkpoint
    if checkpoint.origin != trusted.log_origin:
        msg = f"expected a log called {trusted.log_origin}, found {checkpoint.origin}"
        raise VerificationError(msg)
    data = [entry for tile in _bundles(fetch, checkpoint.size) for entry in tile]
    nothing: dict[Position, bytes] = {}
    nodes = appended(0, map(leaf_hash, data), nothing.__getitem__)
    if root_hash(checkpoint.size, nodes.__getitem__) != checkpoint.root:
        msg = f"its {checkpoint.size} entries do not have the root that it signed"
        raise VerificationError(msg)
    return [_entry(item) for item in data]


def _bundles(fetch: LogFetch, size: int) -> Iterator[list[bytes]]:
    for begin in range(0, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - begin)
        tile = Tile(None, begin // TILE_WIDTH, width)
        yield from_bundle(fetch(LOG_PREFIX + tile.path), width=width)


def _entry(data: bytes) -> LogEntry:
    try:
        return LogEntry.from_bytes(data, limit_bytes=_MAX_ENTRY_BYTES)
    except ValueError as error:
        msg = f"an entry of the log: {error}"
        raise VerificationError(msg) from error


def _not_logged(
    repository: Repository, entries: Sequence[LogEntry]
) -> Iterator[Finding]:
    """Every role version that is served was logged; snapshot and timestamp are not."""
    logged = frozenset(entries)
    served = [(it.name, it.signed.version, it.data) for it in repository.roots]
    served += [
        (name, it.signed.version, it.data) for name, it in repository.roles.items()
    ]
    for name, version, data in served:
        sha256 = sha256_bytes(data)
        wanted = LogEntry(kind="metadata", name=name, version=version, sha256=sha256)
        if wanted not in logged:
            why = f"version {version} is served and was never logged"
            yield failure("not-logged", name, why)


def _equivocations(entries: Sequence[LogEntry]) -> Iterator[Finding]:
    """No role has two files of one version: one of them was made for somebody else."""
    seen: dict[tuple[str, int | None], set[str]] = defaultdict(set)
    for entry in entries:
        if entry.kind == "metadata":
            seen[entry.name, entry.version].add(entry.sha256)
    for (name, version), digests in seen.items():
        if len(digests) > 1:
            why = f"{len(digests)} files of version {version} are logged"
            yield failure("equivocation", name, why)


def _freezes(repository: Repository, entries: Sequence[LogEntry]) -> Iterator[Finding]:
    """Nothing newer was logged than is served here: we are not the ones kept behind."""
    served = {name: it.signed.version for name, it in repository.roles.items()}
    for root in repository.roots:
        served[ROOT] = root.signed.version
    newest: dict[str, int] = {}
    for entry in entries:
        if entry.kind == "metadata":
            newest[entry.name] = max(newest.get(entry.name, 0), entry.version or 0)
    for name, version in newest.items():
        if served.get(name, 0) < version:
            why = f"version {version} is logged, {served.get(name, 0)} is served"
            yield failure("freeze", name, why)
