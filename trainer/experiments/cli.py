"""``zoo experiment``: run what is missing, and tell what it adds up to."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.cli.output import emit, say
from model_zoo.errors import ExpectationError, InvalidSpecError

if TYPE_CHECKING:
    from trainer.experiments.contract import Cell, Experiment, Finished, Scale

ALL = "all"
RESULTS = Path("results")


def commands(app: typer.Typer) -> None:
    """Add ``zoo experiment`` to ``app``."""
    app.command("experiment")(experiment)


def experiment(
    name: Annotated[str, typer.Argument(help="An experiment, or all of them.")],
    *,
    out: Annotated[
        Path, typer.Option(help="Folder of finished cells, tables and figures.")
    ] = RESULTS,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke version, on a slice of the data.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=0, max=100, help="How many; 0 for each one's own.")
    ] = 0,
    processes: Annotated[
        int, typer.Option(min=0, max=1024, help="At a time; 0 for one a core.")
    ] = 0,
) -> None:
    """Reproduce a table or figure of the BadNets paper, beside the paper's numbers.

    Finished cells are kept: a second run, or one after an interrupt, runs what is
    missing.
    """
    chosen = _chosen(name)
    missed: list[str] = []
    for it in chosen:
        missed += _run(it, out=out, quick=quick, seeds=seeds, processes=processes)
    emit({"experiments": [it.name for it in chosen], "missed": missed})
    if missed and not quick:
        msg = f"goals missed: {'; '.join(missed)}"
        raise ExpectationError(msg)


def _chosen(name: str) -> "list[Experiment]":
    from trainer.experiments import EXPERIMENTS

    if name == ALL:
        return list(EXPERIMENTS.values())
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        msg = f"experiment {name[:60]!a}: {meant}known: {', '.join(EXPERIMENTS)}"
        raise InvalidSpecError(msg)
    return [EXPERIMENTS[name]]


def _run(
    it: "Experiment", *, out: Path, quick: bool, seeds: int, processes: int
) -> list[str]:
    """Run one experiment and return the goals that it missed."""
    import os

    from trainer.experiments.ledger import Ledger
    from trainer.experiments.results import write_results
    from trainer.experiments.running import Stations, run_missing
    from trainer.experiments.workshop import models_folder

    scale: Scale = "quick" if quick else "full"
    count = 1 if quick else seeds or it.seeds
    cells = [cell for seed in range(count) for cell in it.cells(seed, scale)]
    say(f"{it.name}: {it.title} (section {it.section}); {len(cells)} cells")
    models = models_folder()
    stations = Stations(
        count=processes or os.cpu_count() or 1, models=models, log=models / "log.txt"
    )
    finished = run_missing(cells, ledger=Ledger(out), stations=stations, told=_tell)
    summary = write_results(it, finished, folder=out, scale=scale)
    for claim in summary.claims:
        say(f"  {claim.what}: {claim.ours} {claim.unit}; paper {claim.paper}")
        say(f"    goal: {claim.goal}: {claim.verdict}")
    return [f"{it.name}: {c.what}" for c in summary.claims if c.verdict == "missed"]


def _tell(cell: "Cell", finished: "Finished", done: int, total: int) -> None:
    part = ", ".join(str(value) for value in cell.part.values())
    say(f"  {done}/{total} seed {cell.seed}, {part}: {finished.seconds:.0f} s")
