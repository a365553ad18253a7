"""``zoo experiment``, done: run what is missing, and say what it adds up to."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from rich.progress import Progress

from model_zoo.canonical import JsonObject
from model_zoo.cli.output import console, emit, say
from model_zoo.errors import (
    ExpectationError,
    LocalError,
    TransportError,
    VerificationError,
    ZooError,
)
from trainer.data import ensure_data
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.cells import (
    Cell,
    Finished,
    Scale,
    find_finished,
    require_same_origin,
)
from trainer.experiments.engine.experiment import Experiment
from trainer.experiments.engine.models import CPU, ModelCache, models_folder
from trainer.experiments.engine.orders import OrderClient
from trainer.experiments.engine.report import write_report
from trainer.experiments.engine.results import Result, write_results
from trainer.experiments.engine.running import Outcome, Report, run_experiments
from trainer.training.devices import choose_device, most_processes


@dataclass(frozen=True, slots=True)
class Run:
    """What the options say, and what came of it by the name of the experiment.

    Attributes:
        folder: of results.
        scale: whether it is a smoke version.
        seeds: how many; 0 for each experiment's own.
        processes: at a time; 0 for one a core, as memory allows.
        orders: who has models made; None to make them here.
        several: whether it is of more than one experiment.
        missed: the goals that were missed, of each that was run.
        skipped: why data are not there.
        failed: why it could not be run.
    """

    folder: Path
    _: KW_ONLY
    scale: Scale
    seeds: int
    processes: int
    orders: OrderClient | None = None
    several: bool = False
    missed: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, ZooError] = field(default_factory=dict)
    failed: dict[str, ZooError] = field(default_factory=dict)

    def cells(self, it: Experiment) -> list[Cell]:
        """Return the cells of all seeds of an experiment."""
        count = 1 if self.scale == "quick" else self.seeds or it.seeds
        return [cell for seed in range(count) for cell in it.cells(seed, self.scale)]

    def models(self, it: Experiment) -> ModelCache:
        """Return the models of an experiment, and of its like."""
        device = CPU if it.on_cpu else choose_device()
        if self.orders is None:
            return ModelCache(folder=models_folder(), device=device)
        return ModelCache(
            folder=self.orders.folder_in(models_folder()),
            device=device,
            make=self.orders,
            made_by=self.orders.who(),
        )


def list_all(run: Run) -> None:
    """Say every experiment, and how many of its cells are finished."""
    entries = []
    for it in EXPERIMENTS.values():
        entry: JsonObject = {"name": it.name, "title": it.title, "section": it.section}
        try:
            cells = run.cells(it)
        except ZooError as error:  # a smoke version is of a slice of data that lack
            entries.append({**entry, "lacks": str(error)})
            say(f"{it.name}: {it.title} ({it.section}); {error}")
            continue
        done = len(find_finished(run.folder, cells))
        entries.append({**entry, "cells": len(cells), "finished": done})
        say(f"{it.name}: {it.title} ({it.section}); {done} of {len(cells)} cells")
    emit({"experiments": entries})


def run_chosen(chosen: Sequence[Experiment], run: Run) -> None:
    """Run what is missing of ``chosen``, and say what came of it.

    Of several, one that cannot be run stops no other. An interrupt loses no cell.

    Raises:
        ZooError: the only one cannot be run, or some failed, as ``_conclude`` says.
        ExpectationError: a goal is missed.
    """
    try:
        for batch in _batches(chosen, run):
            _run_batch(batch, run)
    except KeyboardInterrupt:
        say(f"interrupted: finished cells are kept in {run.folder}; run it again")
        raise
    if not run.several:
        for error in (*run.skipped.values(), *run.failed.values()):
            raise error
    _conclude(run)


def _fail(it: Experiment, error: ZooError, run: Run) -> None:
    run.failed[it.name] = error
    if run.several:
        say(f"{it.name}: {error}")


def _batches(
    chosen: Sequence[Experiment], run: Run
) -> Iterable[dict[Experiment, list[Cell]]]:
    """Return experiment -> cells of those that can be run, in batches.

    Those that need the same memory and device are run together: with greedier ones
    among them there would be fewer processes for all.
    """
    batches: dict[tuple[int, bool], dict[Experiment, list[Cell]]] = {}
    for it in chosen:
        try:
            for name in it.datasets:
                ensure_data(name)
        except ZooError as error:
            run.skipped[it.name] = error
            continue
        try:
            batches.setdefault((it.mib, it.on_cpu), {})[it] = _ready(it, run)
        except ZooError as error:
            _fail(it, error, run)
    return batches.values()


def _ready(it: Experiment, run: Run) -> list[Cell]:
    """Return the cells of an experiment, and say how many are to be run.

    Raises:
        LocalError: finished ones are damaged, or not of these data and models.
    """
    cells, models = run.cells(it), run.models(it)
    found = find_finished(run.folder, cells)
    data = models.data(it.datasets)
    require_same_origin(cells, found, data=data, made_by=models.made_by)
    missing = len(cells) - len(found)
    say(f"{it.name}: {it.title} ({it.section}); {missing} of {len(cells)} cells to run")
    return cells


def run_cells(it: Experiment, run: Run) -> list[Finished]:
    """Run what is missing of one experiment, and return all of its cells.

    An interrupt loses no finished cell.

    Raises:
        ZooError: data are missing, or a cell cannot be run.
    """
    for name in it.datasets:
        ensure_data(name)
    for _, outcome in _outcomes({it: _ready(it, run)}, run):
        if isinstance(outcome, ZooError):
            raise outcome
        return outcome
    return []


def _run_batch(batch: dict[Experiment, list[Cell]], run: Run) -> None:
    """Run what is missing of a batch; of each, write and say what it adds up to."""
    for it, outcome in _outcomes(batch, run):
        try:
            if isinstance(outcome, ZooError):
                raise outcome
            claims = _write(it, outcome, run).summary.claims
        except ZooError as error:
            _fail(it, error, run)
            continue
        missed = [it.what for it in claims if it.verdict == "missed"]
        run.missed[it.name] = missed


def _outcomes(
    batch: dict[Experiment, list[Cell]], run: Run
) -> Iterator[tuple[Experiment, Outcome]]:
    """Run what is missing of a batch, and yield what comes of each experiment."""
    first = next(iter(batch))
    models = run.models(first)
    processes = run.processes or most_processes(first.mib, models.device)
    cells = [cell for its in batch.values() for cell in its]
    missing = len(cells) - len(find_finished(run.folder, cells))
    with _progress(missing) as report:
        ran = run_experiments(
            batch, folder=run.folder, processes=processes, models=models, report=report
        )
        with closing(ran) as outcomes:
            yield from outcomes


def _write(it: Experiment, finished: Sequence[Finished], run: Run) -> Result:
    """Write and say what the cells of an experiment add up to."""
    result = write_results(it, finished, folder=run.folder, scale=run.scale)
    write_report(EXPERIMENTS.values(), run.folder, scale=run.scale)
    minutes = result.seconds / 60 / len(result.seeds)
    peak = f"at most {result.peak_mib} MiB"
    say(f"{it.name}: a seed: {minutes:.1f} min of one core; {peak}")
    for claim in result.summary.claims:
        ours = "not measured" if claim.ours is None else claim.ours.text(claim.unit)
        paper = "" if claim.paper is None else f"; paper {claim.paper} {claim.unit}"
        say(f"  {claim.what}: {ours}{paper}")
        say(f"    goal: {claim.goal}: {claim.verdict}")
    return result


@contextmanager
def _progress(missing: int) -> Iterator[Report]:
    """Yield what reports each cell: a bar on a terminal, else a line a cell."""
    with Progress(console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("cells", total=missing, visible=missing > 0)

        def report(cell: Cell, finished: Finished, done: int, total: int) -> None:
            bars.advance(task)
            if not console.is_terminal:
                say(f"  {done}/{total} {cell}: {finished.seconds:.0f} s")

        yield report


def _conclude(run: Run) -> None:
    """Say where everything is and what is not there.

    Raises:
        ExpectationError: a goal is missed.
        VerificationError: of the experiments that failed, one met what cannot be
            believed.
        TransportError: for one, bytes did not arrive.
        LocalError: one failed in another way.
    """
    skipped = {name: str(error) for name, error in run.skipped.items()}
    for reason in dict.fromkeys(skipped.values()):
        names = [name for name, its in skipped.items() if its == reason]
        say(f"skipped for want of data ({len(names)}): {', '.join(names)}: {reason}")
    say(f"results: {run.folder}")
    emit(
        {
            "folder": str(run.folder),
            "experiments": list(run.missed),
            "missed": run.missed,
            "skipped": skipped,
            "failed": {name: str(error) for name, error in run.failed.items()},
        }
    )
    if run.failed:
        msg = f"{len(run.failed)} could not be run: {', '.join(run.failed)}"
        # what cannot be believed outweighs what could not be done
        for kind in (VerificationError, TransportError):
            if any(isinstance(it, kind) for it in run.failed.values()):
                raise kind(msg)
        raise LocalError(msg)
    if run.scale == "quick":
        say("a smoke version: its numbers mean nothing")
        return
    missed = [f"{name}: {it}" for name, goals in run.missed.items() for it in goals]
    if missed:
        msg = f"goals missed: {'; '.join(missed)}"
        raise ExpectationError(msg)
