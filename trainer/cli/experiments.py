"""``zoo experiment``: its options, and what of them does not go together."""

import difflib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.cli.options import Connection, refuse_options
from model_zoo.errors import InvalidSpecError

if TYPE_CHECKING:
    from trainer.experiments.engine.cells import Scale
    from trainer.experiments.engine.experiment import Experiment
    from trainer.experiments.engine.orders import OrderClient

ALL = "all"
RESULTS = Path("results")

Name = Annotated[
    str, typer.Argument(help="An experiment, or all; without one, they are listed.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of finished cells, tables and figures; without it results, "
        "or a temporary one with --quick."
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="A smoke version, on a slice of the data.")
]
Seeds = Annotated[
    int, typer.Option(min=0, max=100, help="How many; 0 for each one's own.")
]
Processes = Annotated[
    int,
    typer.Option(
        min=0, max=1024, help="At a time; 0 for one a core, as memory allows."
    ),
]
TrainerName = Annotated[
    str, typer.Option("--trainer", help="Who makes the models, as jobs of a zoo.")
]
BuilderKey = Annotated[
    Path | None, typer.Option("--builder", help="That trainer's pinned key (PEM).")
]


def commands(app: typer.Typer) -> None:
    """Add ``zoo experiment`` to ``app``."""
    app.command("experiment")(experiment)


def experiment(
    context: typer.Context,
    name: Name = "",
    *,
    out: Out = None,
    quick: Quick = False,
    seeds: Seeds = 0,
    processes: Processes = 0,
    trainer: TrainerName = "",
    builder: BuilderKey = None,
    connection: Connection,
) -> None:
    """Reproduce a table or figure of the BadNets paper, beside the paper's numbers.

    Finished cells are kept: a second run, or one after an interrupt, runs what is
    missing. With --trainer and --builder the models are ordered from a zoo, as jobs,
    and believed if the builder signed them.

    Raises:
        InvalidSpecError: there is no such experiment.
        ExpectationError: a goal is missed.
        LocalError: data are missing, or a cell could not be run.
    """
    _refuse_without_effect(context, name=name, quick=quick, trainer=trainer)

    from trainer.cli.experiment_run import Run, list_all, run_chosen

    scale: Scale = "quick" if quick else "full"
    if not name:
        list_all(Run(out or RESULTS, scale=scale, seeds=seeds, processes=processes))
        return
    chosen = _chosen(name)
    folder = out or _folder(scale)
    orders = _order_client(trainer, builder, connection)
    run = Run(
        folder,
        scale=scale,
        seeds=seeds,
        processes=processes,
        orders=orders,
        several=len(chosen) > 1,
    )
    run_chosen(chosen, run)


def _refuse_without_effect(
    context: typer.Context, *, name: str, quick: bool, trainer: str
) -> None:
    if not name:
        of_runs = ("processes", "trainer", "builder")
        refuse_options(context, *of_runs, why="without a name they are listed")
    if quick:
        refuse_options(context, "seeds", why="a smoke version is of one")
    if not trainer:
        of_a_zoo = ("url", "ca", "token_file")
        refuse_options(context, *of_a_zoo, why="only with --trainer and --builder")


def _folder(scale: "Scale") -> Path:
    """Return where results go unless ``--out`` says."""
    if scale == "full":
        return RESULTS
    return Path(tempfile.mkdtemp(prefix="zoo-experiment-"))


def _order_client(
    trainer: str, builder: Path | None, connection: Connection
) -> "OrderClient | None":
    """Return who has models made; None to make them here.

    Raises:
        InvalidSpecError: one of the two that belong together is missing, or a URL or
            token that cannot be used.
        LocalError: a file cannot be read.
    """
    from trainer.experiments.engine.orders import OrderClient

    if not trainer and builder is None:
        return None
    if not trainer or builder is None:
        msg = "--trainer and --builder go together: who makes models, and whose key"
        raise InvalidSpecError(msg)
    orders = OrderClient(connection=connection, trainer=trainer, builder=builder)
    with orders.connected():  # what is wrong is said here, not by every process
        return orders


def _chosen(name: str) -> "list[Experiment]":
    from trainer.experiments.catalogue import EXPERIMENTS

    if name == ALL:
        return list(EXPERIMENTS.values())
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, [*EXPERIMENTS, ALL], n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        msg = f"experiment {name[:60]!a}: {meant}known: {', '.join(EXPERIMENTS)}"
        raise InvalidSpecError(msg)
    return [EXPERIMENTS[name]]
