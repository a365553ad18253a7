"""Embedded workers: processes of the trainer that run as long as the service does.

ADR 4: a worker leases over HTTP, also when the service started it.
"""

import ctypes
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from model_zoo.errors import ConflictError, LocalError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.keys.pem import OWNER_ONLY
from service.accounts.registrations import register_trainer
from service.context import Context
from service.storage.blobs import translate_errors

log = logging.getLogger(__name__)

TRAINER = "embedded"
OUR_PYTHON = (sys.executable, "-P", "-m")
"""``-P``: nothing is imported from the folder in which the service was started."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 60.0
"""A worker that lived so long and then died starts again without a pause."""
STOP_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
"""From Linux's sys/prctl.h."""

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class BuilderKey:
    """Where the embedded trainer's key lies, and the passphrase that opens it."""

    key: Path
    passphrase: Path


def embedded_key(context: Context) -> BuilderKey:
    """Return the embedded trainer's key, made and bound on the first start.

    Raises:
        LocalError: it cannot be written or read, or the name is bound to another key.
    """
    folder = context.settings.data_dir / "keys"
    files = BuilderKey(folder / "embedded.pem", folder / "embedded.passphrase")
    with translate_errors(f"cannot keep a key in {folder}"):
        folder.mkdir(mode=0o700, exist_ok=True)
        if not files.key.exists():
            files.passphrase.unlink(missing_ok=True)
            descriptor = os.open(
                files.passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY
            )
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32))
            SigningKey.generate().save(
                files.key, passphrase=files.passphrase.read_bytes()
            )
        passphrase = files.passphrase.read_bytes()
    key = SigningKey.load(files.key, passphrase=passphrase).public
    try:
        register_trainer(context, TRAINER, key)
    except ConflictError as error:
        msg = f"{error}: the key in {folder} is not the one this zoo started with"
        raise LocalError(msg) from error
    return files


def can_train() -> bool:
    """Whether the trainer's extra is installed; looks, and imports nothing."""
    return find_spec("torch") is not None


def worker_command(
    url: str, keys: BuilderKey, *, scratch: Path, token_file: Path | None
) -> list[str]:
    """Return the command that runs one worker of the embedded trainer."""
    command = [*OUR_PYTHON, "model_zoo", "worker", "--url", url]
    command += ["--trainer", TRAINER, "--key", str(keys.key)]
    command += ["--passphrase-file", str(keys.passphrase), "--scratch", str(scratch)]
    return (
        command if token_file is None else [*command, "--token-file", str(token_file)]
    )


@dataclass(slots=True)
class Workers:
    """Processes that are started again, ever more slowly, until they are stopped."""

    commands: Sequence[Sequence[str]]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start every worker, each watched by a thread of its own."""
        for command in self.commands:
            thread = threading.Thread(target=self._keep_running, args=(command,))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop every worker: politely, then for good."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _keep_running(self, command: Sequence[str]) -> None:
        """Run one worker after another.

        The process is started from this thread because the kernel kills it when the
        thread that started it ends, not only when the process does (prctl(2)).
        """
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                process = _started(command)
            except OSError:  # no process, no descriptor, no memory: for now
                log.exception("no worker could be started; again in %.1f s", pause)
                self._stopping.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            while process.poll() is None and not self._stopping.wait(0.1):
                pass
            if self._stopping.is_set():
                _end(process)
                return
            if time.monotonic() - started > STABLE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.warning(
                "worker %d ended with %d; another starts in %.1f s",
                process.pid,
                process.returncode,
                pause,
            )
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  our own module, no shell
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,  # noqa: PLW1509  one system call
        start_new_session=True,  # Ctrl-C is the service's, which then stops them
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
