"""What a party remembers of a log: the last checkpoint it believed, in one file.

A log that shows one history to some and another to others must keep doing so: each of
them asks, every time, that the new checkpoint extends the one remembered here. That
holds over a change of the log's key, too: what is remembered may be signed by a key
that has retired since, what comes may not.

ADR 18.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    InvalidSpecError,
    RollbackError,
    SplitViewError,
    VerificationError,
)
from model_zoo.files import locked, open_plain, translate_os_errors, write_beside
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.transparency.merkle import (
    consistency_proof,
    root_hash,
    verify_consistency,
)
from model_zoo.transparency.notes import MAX_NOTE_BYTES
from model_zoo.transparency.tlog import (
    LOG_PREFIX,
    Checkpoint,
    SignedCheckpoint,
    TileNodes,
)

LogFetch = Callable[[str], bytes]
"""Returns the bytes at a path of the zoo, such as ``/log/checkpoint``."""


@dataclass(frozen=True, slots=True)
class LogMemory:
    """The file that holds the last believed checkpoint of the log with these keys.

    Processes may share it: it is locked to be replaced, and never over the network.

    Attributes:
        path: the file.
        keys: those that sign the log.
        retired: those that signed it once; believed for what the file holds, since it
            was verified when they counted, and for nothing else.

    Raises:
        InvalidSpecError: one key is in both.
    """

    path: Path
    keys: Sequence[PublicKey]
    retired: Sequence[PublicKey] = ()

    def __post_init__(self) -> None:
        require_apart(self.keys, self.retired)

    def last(self) -> SignedCheckpoint | None:
        """Return the last checkpoint that was believed; None if there was none yet.

        Raises:
            VerificationError: the file is no checkpoint of this log.
            LocalError: it cannot be read.
        """
        with translate_os_errors(f"cannot write {self.path}"):
            try:
                with open_plain(self.path) as file:
                    data = file.read(MAX_NOTE_BYTES + 1)
            except FileNotFoundError:
                return None
        return SignedCheckpoint.open(data, (*self.keys, *self.retired))

    def accept(self, signed: SignedCheckpoint, fetch: LogFetch) -> None:
        """Remember a checkpoint, if the log it is of extends what is remembered.

        ``signed`` was opened with the keys that sign the log now: see ``opened``.

        Raises:
            RollbackError: it is older than the remembered one.
            SplitViewError: the log has two histories; both notes are kept beside the
                file, since each of them is the log's own signature on one.
            VerificationError: it is of another log, or the tiles do not fit it.
            LocalError: the file cannot be read or written.
        """
        last = self.last()
        if last is not None:
            self._check(last, signed, fetch)
        while not self._replaced(last, signed):
            # Another process was faster. What it saw may be newer, and is then kept;
            # but it has to be of the same history.
            last = self.last()
            if last is not None:
                older, newer = sorted((last, signed), key=_size)
                self._check(older, newer, fetch)

    def _replaced(
        self, last: SignedCheckpoint | None, signed: SignedCheckpoint
    ) -> bool:
        """Put the newer of the two into the file, if ``last`` is what it holds."""
        with _locked(self.path):
            if self.last() != last:
                return False
            if last is None or _size(signed) >= _size(last):
                write_beside(self.path, signed.note.to_bytes())
            return True

    def _check(
        self, last: SignedCheckpoint, signed: SignedCheckpoint, fetch: LogFetch
    ) -> None:
        try:
            require_extension(last, signed, fetch)
        except SplitViewError as error:
            kept = [self._keep(last), self._keep(signed)]
            names = " and ".join(str(path) for path in kept)
            msg = f"{error}; the signed proof is in {names}: show it to others"
            raise SplitViewError(msg) from error

    def _keep(self, signed: SignedCheckpoint) -> Path:
        data = signed.note.to_bytes()
        tail = f"split-view-{signed.checkpoint.size}-{sha256_bytes(data)[:16]}.note"
        path = self.path.with_name(f"{self.path.name}.{tail}")
        write_beside(path, data)
        return path


def opened(
    data: bytes, keys: Sequence[PublicKey], retired: Sequence[PublicKey]
) -> SignedCheckpoint:
    """Return a checkpoint that was brought here, once a key of the log vouches for it.

    Raises:
        MalformedDocumentError: no signed note, or no checkpoint in it.
        VerificationError: none of ``keys`` signed it; the message tells a key that has
            retired from a stranger's.
    """
    try:
        return SignedCheckpoint.open(data, keys)
    except VerificationError as error:
        if not is_by(data, retired):
            raise
        msg = (
            "the checkpoint is signed by a key that this log has retired: nobody has "
            "cosigned since its key was replaced, then try again in a minute, or "
            "somebody uses a key that was stolen"
        )
        raise VerificationError(msg) from error


def is_by(data: bytes, keys: Sequence[PublicKey]) -> bool:
    """Whether ``data`` is a checkpoint that one of ``keys`` signed; never raises."""
    try:
        SignedCheckpoint.open(data, keys)
    except VerificationError:
        return False
    return True


def require_apart(keys: Sequence[PublicKey], retired: Sequence[PublicKey]) -> None:
    """Accept a log's keys of now and of once only if no key is among both.

    Raises:
        InvalidSpecError: one is: whoever stole it could go on signing.
    """
    if set(keys) & set(retired):
        msg = "one key is listed as the log's and as retired"
        raise InvalidSpecError(msg)


def require_extension(
    old: SignedCheckpoint, new: SignedCheckpoint, fetch: LogFetch
) -> None:
    """Accept that the log of ``new`` begins with all of the log of ``old``.

    The proof is made of tiles that ``fetch`` gets from anybody.

    Raises:
        RollbackError: ``new`` is the shorter one.
        SplitViewError: the log signed two histories.
        VerificationError: other logs, or tiles that do not make the new root.
    """
    before, after = old.checkpoint, new.checkpoint
    if before.origin != after.origin:
        msg = f"expected a checkpoint of {before.origin!a}, found {after.origin!a}"
        raise VerificationError(msg)
    if after.size < before.size:
        msg = (
            f"the log has {after.size} entries, and had {before.size} when it was "
            "seen last; an old checkpoint is replayed, or the log was cut"
        )
        raise RollbackError(msg)
    if not before.size:
        return
    found = after.root
    if after.size > before.size:
        found = _root_of_first(before.size, after, fetch)
    if found != before.root:
        msg = (
            f"the log {after.origin!a} signed two histories: of its first "
            f"{before.size} entries it showed others before"
        )
        raise SplitViewError(msg)


def _root_of_first(size: int, checkpoint: Checkpoint, fetch: LogFetch) -> bytes:
    """Return the root of the first ``size`` entries of a log, proved by its own root.

    Taking it from the tiles, and not from what is remembered, is what tells a log
    with two histories from tiles that are damaged.
    """
    nodes = TileNodes(checkpoint.size, lambda path: fetch(LOG_PREFIX + path))
    root = root_hash(size, nodes)
    try:
        verify_consistency(
            consistency_proof(size, checkpoint.size, nodes),
            old=size,
            new=checkpoint.size,
            old_root=root,
            new_root=checkpoint.root,
        )
    except VerificationError as error:
        msg = f"the log's tiles do not make the root of its {checkpoint.size} entries"
        raise VerificationError(msg) from error
    return root


def _size(signed: SignedCheckpoint) -> int:
    return signed.checkpoint.size


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file for as long as it takes to look at it and to replace it."""
    lock = path.with_name(f".{path.name}.lock")
    with translate_os_errors(f"cannot write {lock}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock):
            yield
