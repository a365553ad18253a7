"""Running: what is missing is run, on as many processes as asked, and kept at once."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.cli.output import EXIT_CODES
from model_zoo.errors import LocalError, ZooError
from trainer.experiments.engine.contract import Cell, Finished
from trainer.experiments.engine.ledger import Ledger
from trainer.experiments.engine.ordering import Desk
from trainer.files import require_place

MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_LAST_WORDS = 300
END_SECONDS = 10
"""How long a process that closed its pipe may take to end by itself."""

Told = Callable[[Cell, Finished, int, int], None]
"""Told a cell, what it gave, how many are done and how many there are."""

Came = list[Finished] | ZooError
"""What came of an experiment: all its cells, or why there is one less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stations:
    """Where cells are run.

    Attributes:
        count: processes at a time.
        models: the folder of finished models.
        desk: where they are ordered; None makes them here.
        log: the file that gets what the processes print.
        program: reads orders and writes answers, a line each; it is given the folder
            and the id of the process to die with.
    """

    count: int
    models: Path
    log: Path
    desk: Desk | None = None
    program: Sequence[str] = (
        sys.executable,
        "-P",
        "-m",
        "trainer.experiments.engine.station",
    )


def most_processes(mib: int) -> int:
    """Return how many processes fit this machine: one a core, as memory allows.

    Args:
        mib: of memory that each may need.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(os.cpu_count() or 1, memory // (mib * 1024 * 1024)))


def run_missing(
    cells: Sequence[Cell], *, ledger: Ledger, stations: Stations, told: Told
) -> list[Finished]:
    """Return every cell finished, as ``run_experiments`` does.

    Raises:
        ZooError: one was refused or failed; all that could be run was.
    """
    there: dict[str, Finished] = {}
    failures = []
    ran = run_experiments(cells, ledger=ledger, stations=stations, told=told)
    with closing(ran) as ended:
        for _, came in ended:
            if isinstance(came, ZooError):
                failures.append(came)
            else:
                there.update((it.cell, it) for it in came)
    if failures:
        raise failures[0]
    return [there[cell.digest()] for cell in cells]


def run_experiments(
    cells: Sequence[Cell], *, ledger: Ledger, stations: Stations, told: Told
) -> Generator[tuple[str, Came]]:
    """Run what the ledger has not, and yield each experiment as soon as it is ended.

    The cells of all are run together, so that no process waits for a model while there
    is a cell that needs another. Each is kept the moment it is finished: interrupt it
    when you like, and run it again. After a failure no further cell of its experiment
    is begun; those that are being run are finished and kept.

    Yields:
        The name of an experiment, and its cells in the order they were given; or the
        error of one that was refused or failed, as its measurement says, or whose
        process died or answered nonsense. It says which.

    Raises:
        LocalError: cells cannot be kept, and none was begun; or no longer, and no
            further one is.
    """
    found = ledger.find(cells)
    missing = [cell for cell in cells if cell.digest() not in found]
    if missing:
        ledger.require_place()
        require_place(stations.models)
    total, left = len(missing), Counter(cell.experiment for cell in missing)
    failures: dict[str, ZooError] = {}

    def came(name: str) -> tuple[str, Came]:
        its = [cell.digest() for cell in cells if cell.experiment == name]
        return name, failures.get(name) or [found[digest] for digest in its]

    yield from (came(it) for it in _names(cells) if not left[it])
    with closing(_answered(missing, stations)) as answers:
        for done, (cell, answer) in enumerate(answers, start=1):
            name = cell.experiment
            left[name] -= 1
            try:
                finished = _finished(cell, answer)
            except ZooError as error:
                failures.setdefault(name, error)
                left[name] -= _drop(missing, name)
            else:
                found[finished.cell] = ledger.keep(name, finished)
                told(cell, finished, done, total)
            if not left[name]:
                yield came(name)


def _names(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.experiment for cell in cells))


def _drop(orders: list[Cell], experiment: str) -> int:
    """Take every cell of an experiment out of ``orders``; return how many it were."""
    kept = [cell for cell in orders if cell.experiment != experiment]
    dropped = len(orders) - len(kept)
    orders[:] = kept
    return dropped


def _take(orders: list[Cell], *, busy: Collection[Cell], made: set[str]) -> Cell:
    """Take a cell out of ``orders``: the first that waits for nobody's model.

    Args:
        orders: cells to be run; at least one.
        busy: cells that are being run.
        made: recipes whose models are there, by digest. What somebody else makes would
            be waited for; if every cell would have to wait, it is the first.
    """
    making = {recipe for cell in busy for recipe in cell.makes()} - made
    free = (cell for cell in orders if making.isdisjoint(cell.makes()))
    chosen = next(free, orders[0])
    orders.remove(chosen)
    return chosen


@dataclass(frozen=True, slots=True)
class _Answer:
    """One line of a station; of one that ended instead, what is known of its end."""

    line: bytes
    end: str = ""


def _answered(
    orders: list[Cell], stations: Stations
) -> Generator[tuple[Cell, _Answer]]:
    """Give out ``orders`` until there are none, and yield what comes back.

    A process that ended is replaced by another as long as there are orders.
    """
    busy: dict[int, Cell] = {}
    made: set[str] = set()
    with _crew(stations) as start, selectors.DefaultSelector() as readable:

        def employ(process: subprocess.Popen[bytes]) -> None:
            cell = _take(orders, busy=busy.values(), made=made)
            busy[process.pid] = _give(process, cell)
            readable.register(_pipe(process.stdout), selectors.EVENT_READ, process)

        for _ in range(min(stations.count, len(orders))):
            employ(start())
        while busy:
            for key, _ in readable.select():
                process = key.data
                readable.unregister(key.fileobj)
                # one order, one line: nothing is left in the buffer behind it
                line = _pipe(process.stdout).readline(MAX_ANSWER_BYTES)
                cell = busy.pop(process.pid)
                made |= cell.makes()
                yield cell, _heard(process, line, stations.log)
                if orders:
                    employ(process if line.endswith(b"\n") else start())


@contextmanager
def _crew(stations: Stations) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Yield what starts a process that waits for orders; none outlives the block."""
    processes: list[subprocess.Popen[bytes]] = []
    stations.log.parent.mkdir(parents=True, exist_ok=True)

    def start() -> subprocess.Popen[bytes]:
        with stations.log.open("ab") as log:
            processes.append(_start(stations, log))
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):  # an order that was never read
                    _pipe(pipe).close()


def _start(stations: Stations, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start one, in a session of its own: Ctrl-C is for us, and we end it."""
    desk = () if stations.desk is None else (stations.desk.to_json(),)
    return subprocess.Popen(  # noqa: S603  our own module, our own arguments
        [*stations.program, str(stations.models), str(os.getpid()), *desk],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        msg = "a station has a pipe at either end"
        raise ValueError(msg)
    return pipe


def _give(process: subprocess.Popen[bytes], cell: Cell) -> Cell:
    """Send a cell's order, and return the cell."""
    order = {
        "experiment": cell.experiment,
        "seed": cell.seed,
        "scale": cell.scale,
        "digest": cell.digest(),
    }
    with suppress(BrokenPipeError):  # it has died: its answer will say so
        _pipe(process.stdin).write(json.dumps(order).encode() + b"\n")
        _pipe(process.stdin).flush()
    return cell


def _heard(process: subprocess.Popen[bytes], line: bytes, log: Path) -> _Answer:
    if line:
        return _Answer(line)
    status = 0
    with suppress(subprocess.TimeoutExpired):
        status = process.wait(END_SECONDS)
    if status < 0:
        return _Answer(line, end=f"killed by {signal.Signals(-status).name}; see {log}")
    return _Answer(line, end=f"{_last_words(log)}; see {log}")


def _last_words(log: Path) -> str:
    """Return the last line in the log: of a traceback, the error."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - MAX_LAST_WORDS))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "silent")


def _finished(cell: Cell, answer: _Answer) -> Finished:
    """Return what a station made of ``cell``.

    Raises:
        ZooError: it refused, or could not.
        LocalError: it died, or said what is no answer.
    """
    if not answer.line:
        msg = f"{named(cell)}: its process died: {answer.end}"
        raise LocalError(msg)
    try:
        told = parse_object(answer.line, limit_bytes=MAX_ANSWER_BYTES)
        if "error" in told:
            raise _refusal(cell, told)
        finished = Finished.from_object(told.get("finished"))
    except ValueError as error:
        msg = f"{named(cell)}: its process answered nonsense: {error}"
        raise LocalError(msg) from error
    if finished.cell != cell.digest():
        msg = f"{named(cell)}: its process answered for another cell"
        raise LocalError(msg)
    return finished


def _refusal(cell: Cell, told: JsonObject) -> ZooError:
    """Return the error of a cell that its station refused to run, or could not."""
    kinds = {kind.__name__: kind for kind in EXIT_CODES}
    return kinds.get(told["error"], LocalError)(f"{named(cell)}: {told['message']}")


def named(cell: Cell) -> str:
    """Return a cell in words."""
    parts = [f"{name} {value}" for name, value in cell.part.items()]
    return ", ".join([cell.experiment, *parts, f"seed {cell.seed}"])
