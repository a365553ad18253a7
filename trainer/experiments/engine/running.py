"""Running: what is missing is measured in worker processes, and kept at once (ADR 37).

A worker process has one torch thread: with as many processes as cores that is the
fastest on a CPU, and gives the same bits everywhere. Data sets stay in its memory.
"""

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from model_zoo.errors import LocalError, ZooError
from trainer.experiments.engine.cells import (
    CELLS,
    Cell,
    Finished,
    find_finished,
    keep,
)
from trainer.experiments.engine.experiment import Experiment
from trainer.experiments.engine.models import ModelCache
from trainer.files import require_place
from trainer.training.devices import environment

MAX_RSS_UNITS_PER_MIB = 1024 * 1024 if sys.platform == "darwin" else 1024
"""getrusage(2) counts bytes on one system and KiB on the others."""

Report = Callable[[Cell, Finished, int, int], None]
"""Gets a cell, what it gave, how many are done and how many there are."""
Outcome = list[Finished] | ZooError
"""What came of an experiment: all its cells, or why there is one less."""
Task = tuple[Experiment, Cell]
FORKS = multiprocessing.get_context(
    "forkserver" if sys.platform == "linux" else "spawn"
)
"""A fork of this process, which has used torch's threads, might hang; a fork of one
that has only imported torch is there at once. Libraries of a Mac bear no fork at all.
"""
LOG = "workers.log"
"""Beside the models; gets what worker processes print."""


def run_experiments(
    wanted: Mapping[Experiment, Sequence[Cell]],
    *,
    folder: Path,
    processes: int,
    models: ModelCache,
    report: Report,
) -> Generator[tuple[Experiment, Outcome]]:
    """Run what ``folder`` lacks, and yield each experiment as soon as it is ended.

    The cells of all are run together, so that no process waits for a model while there
    is a cell that needs another. Each is kept the moment it is finished: interrupt it
    when you like, and run it again. After a failure no further cell of its experiment
    is begun; those that are being run are finished and kept.

    Yields:
        An experiment, and its cells in the order they were given; or the error of one
        that was refused or failed, or whose process died. It says which.

    Raises:
        LocalError: cells cannot be kept, and none was begun; or no longer, and no
            further one is.
    """
    found = find_finished(folder, [it for cells in wanted.values() for it in cells])
    missing = [
        (experiment, cell)
        for experiment, cells in wanted.items()
        for cell in cells
        if cell.digest() not in found
    ]
    if missing:
        require_place(folder / CELLS)
        require_place(models.folder)
    total, left = len(missing), Counter(experiment for experiment, _ in missing)
    failures: dict[Experiment, ZooError] = {}

    def outcome(it: Experiment) -> tuple[Experiment, Outcome]:
        return it, failures.get(it) or [found[cell.digest()] for cell in wanted[it]]

    yield from (outcome(it) for it in wanted if not left[it])
    with closing(_measured_elsewhere(missing, processes, models)) as answers:
        for done, ((experiment, cell), answer) in enumerate(answers, start=1):
            left[experiment] -= 1
            if isinstance(answer, Finished):
                found[answer.cell] = keep(folder, cell, answer)
                report(cell, answer, done, total)
            else:
                failures.setdefault(experiment, answer)
                dropped = [it for it in missing if it[0] is experiment]
                missing[:] = [it for it in missing if it[0] is not experiment]
                left[experiment] -= len(dropped)
            if not left[experiment]:
                yield outcome(experiment)


def run_cell(experiment: Experiment, cell: Cell, models: ModelCache) -> Finished:
    """Measure ``cell`` in this process.

    Raises:
        ZooError: it is refused, or cannot be measured.
    """
    begun = time.process_time()
    numbers = experiment.measure(cell, models)
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MAX_RSS_UNITS_PER_MIB
    return Finished(
        cell=cell.digest(),
        part=dict(cell.part),
        seed=cell.seed,
        numbers=numbers,
        seconds=round(seconds, 1),
        peak_mib=round(peak),
        # networks answer in fp32 whatever the precision they were trained with
        environment=dict(environment(models.device, "fp32")),
        data=models.data(experiment.datasets),
        made_by=models.made_by if cell.recipes else "",
    )


def _measured_elsewhere(
    tasks: list[Task], processes: int, models: ModelCache
) -> Generator[tuple[Task, Finished | ZooError]]:
    """Give out ``tasks`` until there are none, and yield what comes back.

    Every process is a pool of its own: when one is killed, nothing but its own cell
    fails, and which that was is known.
    """
    made: set[str] = set()
    busy: dict[Future[Finished | ZooError], tuple[ProcessPoolExecutor, Task]] = {}
    with _pools(models.folder / LOG) as new_pool:
        idle = [new_pool() for _ in range(min(processes, len(tasks)))]
        while busy or tasks:
            while idle and tasks:
                task = _take(tasks, busy=[it for _, it in busy.values()], made=made)
                pool = idle.pop()
                with _interrupts_held_back():
                    future = pool.submit(_answer, *task, models)
                busy[future] = pool, task
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                pool, task = busy.pop(future)
                made |= task[1].makes()
                try:
                    answer = future.result()
                except BrokenProcessPool:
                    pool = new_pool()
                    answer = LocalError(
                        f"{task[1]}: its process died, was killed or had no memory "
                        f"left; see {models.folder / LOG}"
                    )
                idle.append(pool)
                yield task, answer


def _take(tasks: list[Task], *, busy: Iterable[Task], made: set[str]) -> Task:
    """Take a task out of ``tasks``: the first that waits for nobody's model.

    Args:
        tasks: at least one.
        busy: those that are being run.
        made: recipes whose models are there, by digest. What somebody else makes would
            be waited for; if every task would have to wait, it is the first.
    """
    making = {recipe for _, cell in busy for recipe in cell.makes()} - made
    free = (it for it in tasks if making.isdisjoint(it[1].makes()))
    chosen = next(free, tasks[0])
    tasks.remove(chosen)
    return chosen


@contextmanager
def _pools(log: Path) -> Iterator[Callable[[], ProcessPoolExecutor]]:
    """Yield what returns a pool of one process; none of those outlives the block."""
    pools: list[ProcessPoolExecutor] = []
    FORKS.set_forkserver_preload([__name__])
    others = set(multiprocessing.active_children())

    def new_pool() -> ProcessPoolExecutor:
        pools.append(
            ProcessPoolExecutor(
                max_workers=1,
                mp_context=FORKS,
                initializer=_begin,
                initargs=(log,),
            )
        )
        return pools[-1]

    try:
        yield new_pool
    finally:
        # a pool waits for what it runs, which may take minutes
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        for pool in pools:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Keep Ctrl-C from this thread and, for good, from processes started meanwhile.

    A terminal sends it to all of them; the parent alone decides, and ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(log: Path) -> None:
    """Prepare a worker process; it ends when its parent does, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a fork server may be older than us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("ab") as file:  # stdout of the command carries its document only
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answer(
    experiment: Experiment, cell: Cell, models: ModelCache
) -> Finished | ZooError:
    """Return what came of a cell in this worker process."""
    try:
        return run_cell(experiment, cell, models)
    except ZooError as error:
        from model_zoo.cli.output import decision  # noqa: PLC0415  all commands, which only a failure needs

        # what decides is the exit code; a class of another package may not come back
        return decision(error)(f"{cell}: {error}")
    except Exception as error:  # noqa: BLE001  whatever it is, it ends this experiment only
        traceback.print_exc()  # into the log
        return LocalError(f"{cell}: {type(error).__name__}: {error}")
