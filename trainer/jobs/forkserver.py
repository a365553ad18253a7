"""A fork server: children start with torch imported, as copies of one process (ADR 43).

Importing torch takes a processor 3 s, and every job has two or three children. The
server imports it once, when the first child asks for it. It holds no key and no data,
has the environment of a child, and serves the one process that started it.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn, Self

from trainer.sandbox.child import keep_memory_private, show_memory

HANDLERS = "trainer.jobs.handlers"
"""They import all of torch."""
BARE, WITH_TORCH = b"b", b"t"
CHUNK_BYTES = 64 * 1024
PATIENCE_SECONDS = 60
"""For a child to end when it was asked to, which takes it a moment."""
PROGRAM = (sys.executable, "-P", "-m", "trainer.jobs.forkserver")
"""``-P``: nothing is imported from the folder in which a worker happens to start."""
MAX_STATUS_BYTES = 16


class Copied:
    """A child that a fork server started; used as a ``subprocess.Popen``.

    At the end of a ``with`` block it is asked to end, and waited for; nothing of it is
    left then.

    Attributes:
        stdin: the child's end is asked for by closing it.
        stdout: what it writes.
        returncode: its exit status, negative for a signal; None while it runs.
    """

    def __init__(
        self,
        stdin: BinaryIO,
        stdout: BinaryIO,
        status: socket.socket,
        server: subprocess.Popen[bytes],
    ) -> None:
        """Keep our ends of pipes, the socket that says how it ended, and its server."""
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self._server = server
        self._is_told = True

    def __enter__(self) -> Self:
        """Return the child, which may already have ended."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its stdin and wait for it."""
        self.stdin.close()
        try:
            self.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()  # it may hang before it has started the child
            self.wait()
        if not self._is_told:  # its own end closes its stdout, whoever saw it or not
            os.set_blocking(self.stdout.fileno(), True)
            while self.stdout.read(CHUNK_BYTES):
                pass
        self.stdout.close()

    def poll(self) -> int | None:
        """Return the exit status, or None if it still runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        """Wait for the end and return the exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``seconds``.
        """
        if self.returncode is None:
            self._status.settimeout(seconds)
            try:
                told = self._status.recv(MAX_STATUS_BYTES)
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(PROGRAM, seconds or 0) from error
            except ConnectionError:
                told = b""
            # without a word: the server was killed, or the child's guardian
            self._is_told = bool(told)
            self.returncode = int(told) if told else -signal.SIGKILL
            self._status.close()
        return self.returncode


@dataclass(frozen=True, slots=True)
class _Server:
    """A fork server that runs: its process, its environment, our end of its stdin."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    control: socket.socket

    def end(self) -> None:
        """Let it go; children that run are not affected."""
        with suppress(OSError):  # it may be gone
            self.control.shutdown(socket.SHUT_RDWR)
        self.control.close()
        self.process.wait()


@dataclass(slots=True)
class _Here:
    """What this process has: at most one server, with the environment of the last."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    server: _Server | None = None

    def use(self, environment: Mapping[str, str]) -> _Server:
        """Return a server with that environment; the caller holds the lock."""
        if self.server is not None and (
            self.server.environment != environment
            or self.server.process.poll() is not None
        ):
            self.end()
        if self.server is None:
            self.server = _serving(environment)
        return self.server

    def end(self) -> None:
        """Let the server go, if there is one; the caller holds the lock."""
        if self.server is not None:
            self.server.end()
            self.server = None

    def forget(self) -> None:
        """Leave the server to the process of which this one is a fork."""
        if self.server is not None:
            self.server.control.close()
            self.server.process.returncode = 0  # it is not ours to wait for
        self.lock, self.server = threading.Lock(), None


_here = _Here()
os.register_at_fork(after_in_child=_here.forget)


def _serving(environment: Mapping[str, str]) -> _Server:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603  our own module
            PROGRAM,
            env=environment,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return _Server(process, environment, ours)


@atexit.register
def end_server() -> None:
    """End the server of this process, if it has one."""
    with _here.lock:
        _here.end()


def start(
    program: Sequence[str],
    *,
    environment: Mapping[str, str],
    more: Mapping[str, str],
    stderr: BinaryIO,
    needs_torch: bool,
) -> Copied:
    """Start a child that runs ``program`` in a session of its own.

    Args:
        program: a script and its arguments; it is given one more, the id of its parent.
        environment: of every child; the server is started with it.
        more: what this child's environment has beside it.
        stderr: where its errors go.
        needs_torch: whether it is worth to have torch imported.

    Raises:
        OSError: no process can be started.
    """
    child_stdin, stdin = os.pipe()
    stdout, child_stdout = os.pipe()
    ours, theirs = socket.socketpair()
    passed = [child_stdin, child_stdout, stderr.fileno()]
    order = json.dumps([list(program), dict(more)]).encode() + b"\n"
    word = WITH_TORCH if needs_torch else BARE
    try:
        server = _ask(environment, word, theirs)
        theirs.close()
        with suppress(ConnectionError):  # who died meanwhile says nothing, see `wait`
            socket.send_fds(ours, [order[:1]], passed)
            ours.sendall(order[1:])
    except BaseException:
        ours.close()
        os.close(stdin)
        os.close(stdout)
        raise
    finally:
        theirs.close()
        os.close(child_stdin)
        os.close(child_stdout)
    pipes = os.fdopen(stdin, "wb", 0), os.fdopen(stdout, "rb", 0)
    return Copied(*pipes, ours, server)


def _ask(
    environment: Mapping[str, str], word: bytes, theirs: socket.socket
) -> subprocess.Popen[bytes]:
    """Hand ``theirs`` to a server, and return that server's process."""
    with _here.lock:
        try:
            server = _here.use(environment)
            socket.send_fds(server.control, [word], [theirs.fileno()])
        except ConnectionError:  # it died a moment ago
            _here.end()
            server = _here.use(environment)
            socket.send_fds(server.control, [word], [theirs.fileno()])
        return server.process


def main() -> None:
    """Start a copy for each request, until whoever started this process is gone.

    A request is a byte and a socket; what follows on that socket is read by a guardian
    of the child's own. Requests wait for nothing but the one import of torch.
    """
    keep_memory_private()  # a child of our user must not write to the next one's
    control = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for guardians
    while True:
        word, passed, _, _ = socket.recv_fds(control, 1, 1)
        if not word:
            return
        if word == WITH_TORCH and sys.platform == "linux":  # elsewhere forks break it
            with suppress(ImportError):  # the child tries again, and says what is wrong
                importlib.import_module(HANDLERS)
            gc.freeze()
        (line,) = passed
        if os.fork() == 0:
            os.dup2(1, control.detach())  # or requests to a dead server would be kept
            _run(_guard(socket.socket(fileno=line)))
        os.close(line)


def _guard(line: socket.socket) -> list[str]:
    """Start a child, say on ``line`` how it ended, and end; the child alone returns.

    Returns:
        Its program and arguments, the last of which is its parent's process id.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order, passed, _, _ = socket.recv_fds(line, 1, 3)
    while not order.endswith(b"\n"):
        part = line.recv(CHUNK_BYTES)
        if not part:
            os._exit(1)
        order += part
    program, more = json.loads(order)
    guardian = os.getpid()
    child = os.fork()
    if child:
        for descriptor in passed:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        with suppress(OSError):  # whoever wanted to know is gone
            line.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    line.close()
    show_memory()
    os.setsid()
    for place, descriptor in enumerate(passed):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.environ.update(more)
    return [*program, str(guardian)]


def _run(program: list[str]) -> NoReturn:
    """Run a script to its end, and end as it did.

    An interpreter that ends frees what it imported, for 0.4 s, piece by piece; the
    kernel frees it at once.
    """
    sys.argv, status = program, 0
    try:
        runpy.run_path(program[0], run_name="__main__")
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise  # it is a message, to be printed
        status = ended.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
