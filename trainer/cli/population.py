"""``zoo population``: build many networks, scan them, and say how well that works."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.cli.output import emit, say
from model_zoo.errors import InvalidSpecError, LocalError
from trainer.cli.experiments import Processes, Quick
from trainer.files import write_whole

if TYPE_CHECKING:
    from trainer.experiments.engine.cells import Finished
    from trainer.experiments.engine.experiment import Experiment, Summary
    from trainer.experiments.population.rows import Row

FOLDER = Path("results/population")

Which = Annotated[
    str,
    typer.Argument(
        metavar="[POPULATION]", help="digits, or another of those there are."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder of finished cells and the report.")]


def commands(app: typer.Typer) -> None:
    """Add ``zoo population`` to ``app``."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Many clean and backdoored networks, to measure scanners on.",
    )
    group.command("build")(_build)
    group.command("scan")(_scan)
    group.command("report")(_report)
    app.add_typer(group, name="population")


def _build(
    population: Which = "digits",
    *,
    out: Out = FOLDER,
    quick: Quick = False,
    processes: Processes = 0,
) -> None:
    """Train every member and measure ACC and ASR; what is finished is kept.

    Backdoored members are made for measuring alone, and stay in the cache.
    """
    yields, _ = _experiments(population)
    _run(yields, out=out, quick=quick, processes=processes)


def _scan(
    population: Which = "digits",
    *,
    out: Out = FOLDER,
    quick: Quick = False,
    processes: Processes = 0,
) -> None:
    """Scan every member; one that is not built yet is built first."""
    _, scans = _experiments(population)
    _run(scans, out=out, quick=quick, processes=processes)


def _run(experiment: "Experiment", *, out: Path, quick: bool, processes: int) -> None:
    from trainer.cli.experiment_run import Run, run_cells

    run = Run(out, scale="quick" if quick else "full", seeds=0, processes=processes)
    finished = run_cells(experiment, run)
    emit({"folder": str(out), "finished": len(finished)})


def _report(
    population: Which = "digits", *, out: Out = FOLDER, quick: Quick = False
) -> None:
    """Calibrate on one split and say how scanners do on the other, never seen one."""
    from trainer.experiments.engine.figures import saved, styled
    from trainer.experiments.population import evasion, report
    from trainer.experiments.population.populations import POPULATIONS
    from trainer.experiments.population.rows import calibrated, compared

    rows = _rows(population, out=out, quick=quick)
    say(f"{len(rows)} members are built and scanned")
    beside = POPULATIONS[population].beside
    told = evasion if beside else report
    if beside:
        rows += _rows(beside, out=out, quick=quick)
    try:
        them = compared(rows, POPULATIONS[population])
        summary = told.summarise(them)
    except ValueError as error:
        msg = f"too few to report on: {error}; run: zoo population scan {population}"
        raise LocalError(msg) from error
    write_whole(out / f"{population}.json", summary.to_bytes())
    if not beside:
        made = calibrated(them).to_bytes()
        write_whole(out / f"{population}-calibration.json", made)
    with styled():
        for name, figure in told.draw(them).items():
            write_whole(out / f"{population}-{name}.png", saved(figure, "png"))
    _say_summary(summary)
    emit({"folder": str(out), "members": len(rows), **summary.to_object()})


def _rows(population: str, *, out: Path, quick: bool) -> "list[Row]":
    from trainer.experiments.population.populations import POPULATIONS
    from trainer.experiments.population.rows import rows_of

    experiments = _experiments(population)
    yields, scans = (_finished(it, out=out, quick=quick) for it in experiments)
    return rows_of(yields, scans, POPULATIONS[population])


def _experiments(population: str) -> "tuple[Experiment, Experiment]":
    """Return what trains and what scans the members.

    Raises:
        InvalidSpecError: there is no such population.
    """
    from trainer.experiments.population import scans, yields

    if population not in yields.EXPERIMENTS:
        msg = f"no population {population!a}; there are {', '.join(yields.EXPERIMENTS)}"
        raise InvalidSpecError(msg)
    return yields.EXPERIMENTS[population], scans.EXPERIMENTS[population]


def _finished(experiment: "Experiment", *, out: Path, quick: bool) -> "list[Finished]":
    from trainer.experiments.engine.cells import find_finished

    cells = experiment.cells(0, "quick" if quick else "full")
    return list(find_finished(out, cells).values())


def _say_summary(summary: "Summary") -> None:
    for claim in summary.claims:
        ours = "not measured" if claim.ours is None else claim.ours.text(claim.unit)
        say(f"{claim.what}: {ours}; goal: {claim.goal}: {claim.verdict}")
    for table in summary.tables:
        say(f"{table.title}: {' | '.join(table.header)}")
        for row in table.rows:
            say(f"  {' | '.join(row)}")
    for remark in summary.remarks:
        say(remark)
