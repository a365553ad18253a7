"""Running: what is missing is run, on as many processes as asked, and kept at once."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_zoo.errors import InvalidSpecError, LocalError
from trainer.experiments.contract import Cell, Finished
from trainer.experiments.ledger import Ledger

Told = Callable[[Cell, Finished, int, int], None]
"""Told a cell, what it gave, how many are done and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stations:
    """Where cells are run.

    Attributes:
        count: processes at a time.
        models: the folder of finished models.
        log: the file that gets what the processes print.
    """

    count: int
    models: Path
    log: Path


def run_missing(
    cells: Sequence[Cell], *, ledger: Ledger, stations: Stations, told: Told
) -> list[Finished]:
    """Return every cell finished; what the ledger has is not run again.

    Each is kept the moment it is finished: interrupt it when you like, and run it
    again.

    Raises:
        InvalidSpecError: a cell was refused; it says which and why.
        LocalError: a process died.
    """
    missing = [cell for cell in cells if ledger.find(cell) is None]
    if missing:
        with _running(missing, stations) as answers:
            for number in range(len(missing)):
                cell, answer = answers.get()
                finished = _finished(cell, answer)
                ledger.keep(cell.experiment, finished)
                told(cell, finished, number + 1, len(missing))
    return [found for cell in cells if (found := ledger.find(cell)) is not None]


_Answers = queue.Queue[tuple[Cell, dict[str, Any]]]


@contextmanager
def _running(cells: Sequence[Cell], stations: Stations) -> Iterator[_Answers]:
    """Yield the queue into which stations put answers; on the way out they are gone."""
    orders: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    for cell in cells:
        orders.put(cell)
    answers: _Answers = queue.Queue()
    processes: list[subprocess.Popen[str]] = []
    stations.log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with stations.log.open("a") as log:
            for _ in range(min(stations.count, len(cells))):
                process = _start(stations.models, log.fileno())
                processes.append(process)
                feed = threading.Thread(
                    target=_feed, args=(process, orders, answers), daemon=True
                )
                feed.start()
            yield answers
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _start(models: Path, log: int) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  our own module, our own arguments
        [sys.executable, "-m", "trainer.experiments.station", str(models)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _feed(
    process: subprocess.Popen[str],
    orders: "queue.SimpleQueue[Cell]",
    answers: _Answers,
) -> None:
    """Give a station one order after another, and pass its answers on."""
    if process.stdin is None or process.stdout is None:
        return
    while not orders.empty():
        try:
            cell = orders.get_nowait()
        except queue.Empty:
            return
        try:
            process.stdin.write(json.dumps(_order(cell)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):  # it died, or we are on the way out
            line = ""
        answers.put((cell, json.loads(line) if line else {}))
        if not line:
            return


def _order(cell: Cell) -> dict[str, object]:
    return {
        "experiment": cell.experiment,
        "seed": cell.seed,
        "scale": cell.scale,
        "digest": cell.digest(),
    }


def _finished(cell: Cell, answer: dict[str, Any]) -> Finished:
    if "finished" in answer:
        return Finished.from_object(answer["finished"])
    name = f"{cell.experiment} {json.dumps(dict(cell.part))}, seed {cell.seed}"
    if "refused" in answer:
        msg = f"{name}: {answer['refused']}"
        raise InvalidSpecError(msg)
    msg = f"{name}: its process died; the log says why"
    raise LocalError(msg)
