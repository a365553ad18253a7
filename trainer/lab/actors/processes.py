"""The laboratory's programs: a zoo and its workers, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_zoo.errors import LocalError
from trainer.sandbox.child import die_with_parent

WATCHDOG_SECONDS = 1800.0
"""Of silence, after which the laboratory itself is broken: an error, never a verdict.

However busy the machine, nothing here takes so long that works at all.
"""
STOP_SECONDS = 60.0
TAIL_CHARACTERS = 2000


@contextmanager
def running(
    arguments: Sequence[str],
    *,
    log: Path,
    secrets: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module as a child until the block ends; it dies with this process.

    Args:
        arguments: what follows ``python -P -m``.
        log: takes the child's output.
        secrets: further environment variables; never put one on a command line.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  our own modules
            [sys.executable, "-P", "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | (secrets or {}),
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  no thread has started yet
        )
    try:
        yield process
    finally:
        _stop(process)


def wait_for_ready(
    ready_file: Path, *, process: subprocess.Popen[bytes], log: Path
) -> dict[str, str]:
    """Return what a server writes about itself, its URLs, once it answers.

    Raises:
        LocalError: it ended instead, or did not answer in WATCHDOG_SECONDS; the message
            ends with the last lines it wrote.
    """
    deadline = time.monotonic() + WATCHDOG_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ready_file.exists():
            return dict(json.loads(ready_file.read_bytes()))
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-TAIL_CHARACTERS:]
    msg = f"a server did not start; its last words in {log}:\n{tail}"
    raise LocalError(msg)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
