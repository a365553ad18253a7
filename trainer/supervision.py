"""Start the child of one attempt, hear it out, and end it when its time is up."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_zoo.canonical import JsonObject, canonical_json, parse_object
from model_zoo.jobs import JobSpec, kind_of
from trainer import attempt

STDERR = "stderr.txt"
MAX_LINE_BYTES = 16 * 1024
MAX_MESSAGE_CHARACTERS = 2000
TICK_SECONDS = 0.25
"""How often a silent child is looked at: bounds the delay of a cancellation."""

KEPT_ENVIRONMENT = ("PATH", "HOME", "XDG_CACHE_HOME", "ZOO_DATA_DIR", "LANG")
"""All that a child inherits: where programs and data lie. No key, token or proxy."""


class AttemptError(Exception):
    """The attempt came to nothing; ``retry`` says whether another one may do better."""

    def __init__(self, message: str, *, retry: bool) -> None:
        """Keep the reason for the job's record."""
        super().__init__(message)
        self.retry = retry


def run_child(
    action: str,
    spec: JobSpec,
    *,
    folder: Path,
    hear: Callable[[JsonObject], None],
    tick: Callable[[], None],
) -> None:
    """Run one child to its end, or end it with everything it started.

    Args:
        action: ``fetch``, ``build`` or ``measure``.
        spec: what the child is told to do; its ``max_seconds`` is enforced here.
        folder: the attempt's scratch folder.
        hear: called with each line of progress.
        tick: called at least every TICK_SECONDS; whatever it raises ends the child.

    Raises:
        AttemptError: it was refused, killed, took too long or misbehaved.
    """
    order = {
        "action": action,
        "kind": kind_of(spec),
        "spec": spec.to_object(),
        "max_seconds": spec.max_seconds,
    }
    (folder / attempt.ORDER).write_bytes(canonical_json(order))
    deadline = time.monotonic() + spec.max_seconds
    with _child(folder) as process:
        for line in _lines(process):
            if line is not None:
                hear(_progress(line))
            tick()
            if time.monotonic() > deadline:
                msg = f"took more than max_seconds = {spec.max_seconds}"
                raise AttemptError(msg, retry=False)
        _require_success(process.wait(), folder)


@contextmanager
def _child(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a child in a session of its own; on the way out nothing of it is left."""
    environment = {
        name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ
    }
    environment |= {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "trainer.attempt", str(folder), str(os.getpid())]
    with (folder / STDERR).open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603  our own module, our own arguments
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _kill_group(process)
        if process.stdout is not None:
            process.stdout.close()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes | None]:
    """Yield each line that the child writes, and None whenever it is silent."""
    pipe = process.stdout
    if pipe is None:
        return
    os.set_blocking(pipe.fileno(), False)
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(TICK_SECONDS):
                yield None
                continue
            chunk = os.read(pipe.fileno(), MAX_LINE_BYTES)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            if len(buffer) > MAX_LINE_BYTES:
                msg = "wrote a line without an end"
                raise AttemptError(msg, retry=False)
            yield from lines


def _progress(line: bytes) -> JsonObject:
    try:
        return parse_object(line, limit_bytes=MAX_LINE_BYTES)
    except ValueError as error:
        msg = "wrote something that is not progress"
        raise AttemptError(msg, retry=False) from error


def _require_success(status: int, folder: Path) -> None:
    if status == 0:
        return
    refusal = folder / attempt.REFUSAL
    if refusal.exists():
        said = json.loads(refusal.read_bytes())
        retry = said["error"] in {"TransportError", "LocalError"}
        msg = f"{said['error']}: {said['message']}"
        raise AttemptError(msg, retry=retry)
    if status < 0:
        msg = f"killed by {signal.Signals(-status).name}"
        raise AttemptError(msg, retry=True)
    tail = (folder / STDERR).read_text(errors="replace")[-MAX_MESSAGE_CHARACTERS:]
    msg = f"exit {status}: {tail}"
    raise AttemptError(msg, retry=True)
