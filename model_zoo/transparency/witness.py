"""A witness: looks at a log from outside and signs what it saw, when, and in order.

It cosigns a checkpoint only if that extends the last one it cosigned, and remembers it
before anybody hears of it. One witness cannot be shown two histories, and so neither
can all the clients that ask for its cosignature.

ADR 18.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from model_zoo.errors import LocalError, NotFoundError
from model_zoo.files import locked, translate_os_errors
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.transparency.memory import LogFetch, LogMemory, is_by, opened
from model_zoo.transparency.notes import COSIGNATURE, Note, VerifierKey, cosign_text
from model_zoo.transparency.tlog import (
    CHECKPOINT_PATH,
    WITNESSED_PATH,
    SignedCheckpoint,
)

COSIGNATURES_PATH = "/log/cosignatures"
"""Below ``/api/v1``."""

Submit = Callable[[str], None]
"""Takes a cosigned note to the zoo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignedCheckpoint:
    """What a witness has signed: a log's name, its size, and when it was seen."""

    origin: str
    size: int
    at: datetime
    note: Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness's key, the log it watches, and the file in which it remembers.

    The file is held by one process at a time: see ``held_state``. ``retired`` keys of
    the log count for what the file holds, and for nothing that is seen.
    """

    key: SigningKey
    log_keys: Sequence[PublicKey]
    retired: Sequence[PublicKey] = ()
    state: Path

    @property
    def verifier_key(self) -> VerifierKey:
        """Its public key in the form that tools of others take."""
        return VerifierKey(self.name, self.key.public, COSIGNATURE)

    @property
    def name(self) -> str:
        """The name it cosigns under, which follows from its key."""
        return witness_name(self.key.public)

    def look(
        self, fetch: LogFetch, submit: Submit, *, now: datetime
    ) -> CosignedCheckpoint:
        """Look once: check the log against what is remembered, cosign and submit.

        Where other witnesses have cosigned a checkpoint that is new to this one, it
        joins them; else each would cosign one of its own, and none have two.

        Raises:
            NotFoundError: the log has no checkpoint yet.
            SplitViewError: the log has two histories; both notes are beside the state.
            RollbackError: the log is shorter than it was.
            VerificationError: anything else that cannot be believed.
            LocalError: the state cannot be read or written.
            TransportError: the zoo was not reached.
        """
        memory = LogMemory(self.state, self.log_keys, self.retired)
        signed = self._to_cosign(memory, fetch)
        memory.accept(signed, fetch)
        line = cosign_text(signed.note.text, name=self.name, key=self.key, now=now)
        note = Note(signed.note.text, (line,))
        submit(note.to_text())
        checkpoint = signed.checkpoint
        return CosignedCheckpoint(
            origin=checkpoint.origin, size=checkpoint.size, at=now, note=note
        )

    def _to_cosign(self, memory: LogMemory, fetch: LogFetch) -> SignedCheckpoint:
        last = memory.last()
        with contextlib.suppress(NotFoundError):
            data = fetch(WITNESSED_PATH)
            # Until a witness has looked since the log's key was replaced, the newest
            # that was cosigned is by the old key: no witness joins that one.
            if not is_by(data, self.retired):
                others = SignedCheckpoint.open(data, self.log_keys)
                if last is None or others.checkpoint.size > last.checkpoint.size:
                    return others
        return opened(fetch(CHECKPOINT_PATH), self.log_keys, self.retired)


@contextlib.contextmanager
def locked_state(path: Path) -> Iterator[None]:
    """Hold a witness's state file against a second witness that would forget it.

    Raises:
        LocalError: another process holds it, or it cannot be locked.
        MalformedDocumentError: what stands in the lock's place is no plain file.
    """
    lock = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as held:
        with translate_os_errors(f"cannot write {lock}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locked(lock, waits=False))
            except BlockingIOError as error:
                msg = f"{path}: another witness works with this state"
                raise LocalError(msg) from error
        yield


def witness_name(key: PublicKey) -> str:
    """Return the name under which a witness of ours with this key cosigns."""
    return f"verified-model-zoo/witness/{key.keyid[:16]}"
