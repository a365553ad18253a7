"""``zoo experiment``, done: run what is missing, and tell what it adds up to."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from model_zoo.canonical import JsonObject
from model_zoo.cli.output import console, emit, say
from model_zoo.errors import (
    ExpectationError,
    LocalError,
    TransportError,
    VerificationError,
    ZooError,
)
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.contract import Cell, Experiment, Finished, Scale
from trainer.experiments.engine.ledger import Ledger
from trainer.experiments.engine.needs import require_data, require_same_origin
from trainer.experiments.engine.ordering import Desk
from trainer.experiments.engine.report import write_report
from trainer.experiments.engine.results import Result, write_results
from trainer.experiments.engine.running import (
    Stations,
    Told,
    most_processes,
    named,
    run_experiments,
)
from trainer.experiments.engine.workshop import models_folder


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say.

    Attributes:
        folder: of results.
        scale: whether it is a smoke version.
        seeds: how many; 0 for each experiment's own.
        processes: at a time; 0 for one a core, as memory allows.
        desk: where models are ordered; None to make them here.
    """

    folder: Path
    _: KW_ONLY
    scale: Scale
    seeds: int
    processes: int
    desk: Desk | None = None

    def cells(self, it: Experiment) -> list[Cell]:
        """Return the cells of all seeds of an experiment."""
        count = 1 if self.scale == "quick" else self.seeds or it.seeds
        return [cell for seed in range(count) for cell in it.cells(seed, self.scale)]

    def stations(self, mib: int) -> Stations:
        """Return where cells are run that need that much memory each."""
        models = models_folder()
        if self.desk is not None:
            models = self.desk.folder_in(models)
        return Stations(
            count=self.processes or most_processes(mib),
            models=models,
            log=models / "stations.log",
            desk=self.desk,
        )


@dataclass(frozen=True, slots=True)
class _Came:
    """What came of it, by the name of the experiment; failures of one are raised."""

    several: bool
    missed: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, ZooError] = field(default_factory=dict)
    failed: dict[str, ZooError] = field(default_factory=dict)


def list_all(asked: Asked) -> None:
    """Tell every experiment, and how many of its cells are finished."""
    told = []
    for it in EXPERIMENTS.values():
        entry: JsonObject = {"name": it.name, "title": it.title, "section": it.section}
        try:
            cells = asked.cells(it)
        except ZooError as error:  # a smoke version is of a slice of data that lack
            told.append({**entry, "lacks": str(error)})
            say(f"{it.name}: {it.title} ({it.section}); {error}")
            continue
        done = len(Ledger(asked.folder).find(cells))
        told.append({**entry, "cells": len(cells), "finished": done})
        say(f"{it.name}: {it.title} ({it.section}); {done} of {len(cells)} cells")
    emit({"experiments": told})


def run_chosen(chosen: Sequence[Experiment], asked: Asked) -> None:
    """Run what is missing of ``chosen``, and say what came of it.

    Of several, one that cannot be run stops no other. An interrupt loses no cell.

    Raises:
        ZooError: the only one cannot be run, or some failed, as ``_conclude`` says.
        ExpectationError: a goal is missed.
    """
    came = _Came(several=len(chosen) > 1)
    try:
        for mib, pool in _pools(chosen, asked, came).items():
            _run_pool(pool, asked, asked.stations(mib), came)
    except KeyboardInterrupt:
        say(f"interrupted: finished cells are kept in {asked.folder}; run it again")
        raise
    if not came.several:
        for error in (*came.skipped.values(), *came.failed.values()):
            raise error
    _conclude(came, asked)


def _pools(
    chosen: Sequence[Experiment], asked: Asked, came: _Came
) -> dict[int, dict[str, list[Cell]]]:
    """Return MiB a process -> name -> cells of those that can be run.

    Those that need the same memory are run together: with greedier ones among them
    there would be fewer processes for all.
    """
    pools: dict[int, dict[str, list[Cell]]] = {}
    for it in chosen:
        try:
            require_data(it)
        except ZooError as error:
            came.skipped[it.name] = error
            continue
        try:
            pools.setdefault(it.mib, {})[it.name] = _ready(it, asked)
        except ZooError as error:
            _fail(it.name, error, came)
    return pools


def _ready(it: Experiment, asked: Asked) -> list[Cell]:
    """Return the cells of an experiment, and say how many are to be run.

    Raises:
        LocalError: finished ones are damaged, or not of these data and models.
    """
    cells = asked.cells(it)
    there = Ledger(asked.folder).find(cells)
    who = asked.desk.who() if asked.desk else ""
    require_same_origin(it, cells, finished=there, made_by=who)
    missing = len(cells) - len(there)
    say(f"{it.name}: {it.title} ({it.section}); {missing} of {len(cells)} cells to run")
    return cells


def _run_pool(
    pool: dict[str, list[Cell]], asked: Asked, stations: Stations, came: _Came
) -> None:
    """Run what is missing of a pool; of each, write and tell what it adds up to."""
    ledger = Ledger(asked.folder)
    cells = [cell for its in pool.values() for cell in its]
    with _progress(len(cells) - len(ledger.find(cells))) as told:
        ran = run_experiments(cells, ledger=ledger, stations=stations, told=told)
        with closing(ran) as ended:
            for name, finished in ended:
                if isinstance(finished, ZooError):
                    _fail(name, finished, came)
                    continue
                try:
                    result = _write(EXPERIMENTS[name], finished, asked)
                except ZooError as error:
                    _fail(name, error, came)
                    continue
                claims = result.summary.claims
                missed = [it.what for it in claims if it.verdict == "missed"]
                came.missed[name] = missed


def _fail(name: str, error: ZooError, came: _Came) -> None:
    came.failed[name] = error
    if came.several:
        say(f"{name}: {error}")


def _write(it: Experiment, finished: Sequence[Finished], asked: Asked) -> Result:
    """Write and tell what the cells of an experiment add up to."""
    result = write_results(it, finished, folder=asked.folder, scale=asked.scale)
    write_report(asked.folder, scale=asked.scale)
    minutes = result.seconds / 60 / len(result.seeds)
    peak = f"at most {result.peak_mib} MiB"
    say(f"{it.name}: a seed: {minutes:.1f} min of one core; {peak}")
    for claim in result.summary.claims:
        ours = "not measured" if claim.ours is None else claim.ours.told(claim.unit)
        paper = "" if claim.paper is None else f"; paper {claim.paper} {claim.unit}"
        say(f"  {claim.what}: {ours}{paper}")
        say(f"    goal: {claim.goal}: {claim.verdict}")
    return result


@contextmanager
def _progress(missing: int) -> Iterator[Told]:
    """Yield what tells of each cell: a bar on a terminal, else a line a cell."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("cells", total=missing, visible=missing > 0)

        def told(cell: Cell, finished: Finished, done: int, total: int) -> None:
            bars.advance(task)
            if not console.is_terminal:
                seconds = f"{finished.seconds:.0f} s"
                say(f"  {done}/{total} {named(cell)}: {seconds}")

        yield told


def _conclude(came: _Came, asked: Asked) -> None:
    """Say where everything is and what is not there.

    Raises:
        ExpectationError: a goal is missed.
        VerificationError: of the experiments that failed, one met what cannot be
            believed.
        TransportError: for one, bytes did not arrive.
        LocalError: one failed in another way.
    """
    skipped = {name: str(error) for name, error in came.skipped.items()}
    for reason in dict.fromkeys(skipped.values()):
        names = [name for name, its in skipped.items() if its == reason]
        say(f"skipped for want of data ({len(names)}): {', '.join(names)}: {reason}")
    say(f"results: {asked.folder}")
    emit(
        {
            "folder": str(asked.folder),
            "experiments": list(came.missed),
            "missed": came.missed,
            "skipped": skipped,
            "failed": {name: str(error) for name, error in came.failed.items()},
        }
    )
    if came.failed:
        msg = f"{len(came.failed)} could not be run: {', '.join(came.failed)}"
        failures = came.failed.values()
        # what cannot be believed outweighs what could not be done
        for kind in (VerificationError, TransportError):
            if any(isinstance(it, kind) for it in failures):
                raise kind(msg)
        raise LocalError(msg)
    if asked.scale == "quick":
        say("a smoke version: its numbers mean nothing")
        return
    missed = [f"{name}: {it}" for name, goals in came.missed.items() for it in goals]
    if missed:
        msg = f"goals missed: {'; '.join(missed)}"
        raise ExpectationError(msg)
