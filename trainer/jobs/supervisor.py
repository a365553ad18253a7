"""Start the child of one attempt, hear it out, and end it when its time is up."""

import fcntl
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field

from model_zoo.canonical import JsonObject, canonical_json, parse_object
from model_zoo.documents import Document
from model_zoo.errors import ZooError
from model_zoo.files import read_plain
from model_zoo.statements.jobs import JobSpec, kind_of
from trainer.cache import cache_root
from trainer.jobs import attempt, forkserver
from trainer.jobs.forkserver import Copied
from trainer.sandbox.allowances import to_fetch, to_work
from trainer.sandbox.child import Plan

MAX_LINE_BYTES = 16 * 1024
MAX_PROGRESS_BYTES = 1024 * 1024
"""Of progress, by one child: it is kept for good. An epoch takes a hundred."""
MAX_REFUSAL_BYTES = 64 * 1024
MAX_MESSAGE_CHARACTERS = 2000
TICK_SECONDS = 0.25
"""How often a silent child is looked at: bounds the delay of a cancellation."""

KEPT_FREE_BYTES = 1 << 30
KEPT_FREE_PART = 50
"""Of the disk under a scratch folder: so many bytes, or that part if it is less."""

KEPT_ENVIRONMENT = (
    *("PATH", "LANG", "LD_LIBRARY_PATH"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"),
)
"""All that a child inherits, beside where data lie. No key, token or proxy.

Without the last two, whichever GPU a worker was given, its children share the first;
the libraries of a GPU's driver may lie where only ``LD_LIBRARY_PATH`` leads.
"""

PROGRAM = (attempt.__file__,)
"""A script and its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What one child is, beside what it is told to do.

    Attributes:
        user: whose rights it gets in place of its supervisor's; None for these.
        results: a folder with what another child made, to be read.
        program: what is run; it is given the scratch folder and its parent's id.
        readable: what that program needs to read, beside what every child does.
    """

    user: int | None = None
    results: Path | None = None
    program: Sequence[str] = PROGRAM
    readable: tuple[Path, ...] = ()


class AttemptError(Exception):
    """The attempt came to nothing; ``retry`` says whether another one may do better."""

    def __init__(self, message: str, *, retry: bool) -> None:
        """Keep the reason for the job's record."""
        super().__init__(message)
        self.retry = retry


class _Refusal(Document):
    """Why a child did not do what it was told."""

    error: Annotated[str, Field(max_length=80)]
    message: str


def run_child(
    action: str,
    spec: JobSpec,
    *,
    folder: Path,
    hear: Callable[[JsonObject], None],
    tick: Callable[[], None],
    child: Child = Child(),
) -> None:
    """Run one child to its end, or end it with everything it started.

    Args:
        action: ``fetch``, ``build`` or ``measure``.
        spec: what the child is told to do; its ``max_seconds`` is enforced here.
        folder: its scratch folder, of no other child before or after it; what lies
            there, and what it leaves there, is the child's.
        hear: called with each line of progress.
        tick: called at least every TICK_SECONDS; whatever it raises ends the child.
        child: whose rights it gets, and what else it reads.

    Raises:
        AttemptError: it was refused, killed, took too long or misbehaved, or the disk
            became nearly full.
    """
    order = {
        "action": action,
        "kind": kind_of(spec),
        "spec": spec.to_object(),
        "max_seconds": spec.max_seconds,
        # the child stands in a folder of its own: a relative path leads elsewhere there
        "results": str(child.results and child.results.absolute()),
    }
    run_order(order, folder=folder, hear=hear, tick=tick, child=child)


def run_order(
    order: JsonObject,
    *,
    folder: Path,
    hear: Callable[[JsonObject], None],
    tick: Callable[[], None],
    child: Child,
) -> None:
    """Have a child carry out ``order``; as ``run_child``, which see."""
    folder = folder.resolve()
    plan = _plan(order["action"], folder, child)
    with (folder / attempt.ORDER).open("xb") as file:
        file.write(canonical_json(order | {"sandbox": asdict(plan)}))
    _hand_over(folder, plan)
    deadline = time.monotonic() + order["max_seconds"]
    progress_bytes = 0
    with tempfile.TemporaryFile(dir=folder) as stderr:  # it has no name there
        with _start(child.program, order, folder, stderr) as process:
            for line in _lines(process):
                if line is not None:
                    progress_bytes += len(line)
                    if progress_bytes > MAX_PROGRESS_BYTES:
                        msg = f"more than {MAX_PROGRESS_BYTES} bytes of progress"
                        raise AttemptError(msg, retry=False)
                    hear(_progress(line))
                tick()
                require_room(folder)
                if time.monotonic() > deadline:
                    msg = f"took more than max_seconds = {order['max_seconds']}"
                    raise AttemptError(msg, retry=False)
        _require_success(process.wait(), folder, stderr)


def require_room(folder: Path) -> None:
    """Accept the disk under ``folder`` unless it is nearly full.

    A limit on each file bounds no number of them, and files without a name, which hide
    from whoever counts those in a folder, take room as well. So does what others write:
    another attempt may do better.

    Raises:
        AttemptError: it is nearly full.
    """
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    kept = min(KEPT_FREE_BYTES, disk.f_blocks * disk.f_frsize // KEPT_FREE_PART)
    if free_bytes < kept:
        msg = (
            f"the disk of the scratch folder is nearly full: {free_bytes:,} bytes are "
            f"free, {kept:,} are kept"
        )
        raise AttemptError(msg, retry=True)


def _plan(action: str, folder: Path, child: Child) -> Plan:
    """Return what is left to a child: who downloads keeps the network and our user."""
    if action == "fetch":
        with suppress(OSError):  # where it cannot be made, all has to be there already
            cache_root().mkdir(parents=True, exist_ok=True)
        return Plan(user=None, network=True, rules=to_fetch(folder))
    made = [] if child.results is None else [child.results]
    rules = to_work(folder, readable=[*made, *child.readable])
    return Plan(user=child.user, network=False, rules=rules)


def _hand_over(folder: Path, plan: Plan) -> None:
    """Give the scratch folder, and what lies in it, to the user of the plan."""
    if plan.user is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, plan.user, plan.user, follow_symlinks=False)


def _start(
    program: Sequence[str], order: JsonObject, folder: Path, stderr: BinaryIO
) -> Copied:
    """Start a child in a session of its own; once it has ended nothing of it is left.

    It stays outside its own sandbox to see to that; see ``sandbox.child.confine``.
    """
    return forkserver.start(
        [*program, str(folder)],
        environment=_environment(),
        more={"TMPDIR": str(folder)},
        stderr=stderr,
        needs_torch=order.get("kind", "noop") != "noop",
    )


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    if data := os.environ.get("ZOO_DATA_DIR"):
        kept["ZOO_DATA_DIR"] = str(Path(data).absolute())
    return kept | {
        "HOME": str(Path.home()),
        "OMP_NUM_THREADS": "1",
        # torch would import other packages' backends, before the walls stand
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        "XDG_CACHE_HOME": str(cache_root().absolute().parent),
    }


def _lines(process: Copied) -> Iterator[bytes | None]:
    """Yield each line that the child writes, and None whenever it is silent.

    The end is the child's end: one that closed its stdout is still to be watched.
    """
    yield from _written(process)
    while process.poll() is None:
        yield None
        with suppress(subprocess.TimeoutExpired):
            process.wait(TICK_SECONDS)


def _written(process: Copied) -> Iterator[bytes | None]:
    pipe = process.stdout
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
        progress = parse_object(line, limit_bytes=MAX_LINE_BYTES)
        canonical_json(progress)  # it is passed on as such
        return progress  # noqa: TRY300  both may refuse it
    except ValueError as error:
        msg = "wrote something that is not progress"
        raise AttemptError(msg, retry=False) from error


def _require_success(status: int, folder: Path, stderr: BinaryIO) -> None:
    if status == 0:
        return
    if status < 0:
        names = {it.value: it.name for it in signal.Signals}
        msg = f"killed by {names.get(-status, f'signal {-status}')}"
        raise AttemptError(msg, retry=True)
    refusal = _refusal(folder / attempt.REFUSAL)
    if refusal is not None:
        retry = refusal.error in {"TransportError", "LocalError"}
        msg = f"{refusal.error}: {refusal.message[:MAX_MESSAGE_CHARACTERS]}"
        raise AttemptError(msg, retry=retry)
    fcntl.fcntl(stderr, fcntl.F_SETFL, 0)  # its flags were the child's to set
    length = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, length - MAX_MESSAGE_CHARACTERS))
    tail = stderr.read(MAX_MESSAGE_CHARACTERS).decode(errors="replace")
    msg = f"exit {status}: {tail}"
    raise AttemptError(msg, retry=True)


def _refusal(path: Path) -> _Refusal | None:
    if not os.path.lexists(path):
        return None
    try:
        data = read_plain(path, limit_bytes=MAX_REFUSAL_BYTES)
        return _Refusal.from_bytes(data, limit_bytes=MAX_REFUSAL_BYTES)
    except (ValueError, ZooError) as error:
        msg = f"left a {path.name} that cannot be read: {error}"
        raise AttemptError(msg, retry=False) from error
