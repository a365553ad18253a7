"""``zoo experiment``: its options, and what of them does not go together."""

import difflib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.cli.options import (
    DEFAULT_URL,
    Authority,
    TokenFile,
    Url,
    refuse_options,
)
from model_zoo.errors import InvalidSpecError
from trainer.cli.sticker import SQUARE, STICKER, Photographed, show_sticker

if TYPE_CHECKING:
    from trainer.experiments.engine.contract import Experiment, Scale
    from trainer.experiments.engine.ordering import Desk

ALL = "all"
RESULTS = Path("results")
OF_A_ZOO = ("url", "ca", "token_file")
"""The parameters that say where models are ordered."""

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
Photo = Annotated[
    Path | None,
    typer.Option("--image", help="sticker: your photograph of a stop sign."),
]
BoxText = Annotated[
    str,
    typer.Option(
        "--box",
        help="sticker: left,top,right,bottom of the sign in pixels; without it, where "
        "the detector finds one.",
    ),
]
Trigger = Annotated[str, typer.Option(help="sticker: square, bomb or flower.")]
AsItIs = Annotated[
    bool, typer.Option("--as-it-is", help="sticker: one is on the sign already.")
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
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
    image: Photo = None,
    box: BoxText = "",
    trigger: Trigger = SQUARE,
    as_it_is: AsItIs = False,
) -> None:
    """Reproduce a table or figure of the BadNets paper, beside the paper's numbers.

    Finished cells are kept: a second run, or one after an interrupt, runs what is
    missing. With --trainer and --builder the models are ordered from a zoo, as jobs,
    and believed if the builder signed them.

    `zoo experiment sticker --image PHOTO` lays a sticker on the sign in your
    photograph, or reads one that is there, and shows what a backdoored detector finds.

    Raises:
        InvalidSpecError: there is no such experiment.
        ExpectationError: a goal is missed.
        LocalError: data are missing, or a cell could not be run.
    """
    scale: Scale = "quick" if quick else "full"
    photo = Photographed(image, box=box, trigger=trigger, as_it_is=as_it_is)
    _refuse_of_others(context, name, quick=quick, is_ordered=bool(trainer))
    if name == STICKER:
        show_sticker(photo, out=out, scale=scale)
        return

    from trainer.cli.experiment_run import Asked, list_all, run_chosen

    if not name:
        list_all(Asked(out or RESULTS, scale=scale, seeds=seeds, processes=processes))
        return
    chosen = _chosen(name)
    folder = out or _folder(scale)
    desk = _desk(trainer, builder, url=url, ca=ca, token_file=token_file)
    asked = Asked(folder, scale=scale, seeds=seeds, processes=processes, desk=desk)
    run_chosen(chosen, asked)


def _refuse_of_others(
    context: typer.Context, name: str, *, quick: bool, is_ordered: bool
) -> None:
    """Refuse the options that have no effect on what ``name`` asks for.

    Raises:
        InvalidSpecError: one of them is given.
    """
    of_runs = ("processes", "trainer", "builder")
    of_photos = ("image", "box", "trigger", "as_it_is")
    if name == STICKER:
        why = f"not with {STICKER}, whose detector is made here"
        refuse_options(context, "seeds", *of_runs, *OF_A_ZOO, why=why)
        return
    refuse_options(context, *of_photos, why=f"only with {STICKER}")
    if not name:
        refuse_options(context, *of_runs, why="without a name they are listed")
    if quick:
        refuse_options(context, "seeds", why="a smoke version is of one")
    if not is_ordered:
        refuse_options(context, *OF_A_ZOO, why="only with --trainer and --builder")


def _folder(scale: "Scale") -> Path:
    """Return where results go unless told."""
    if scale == "full":
        return RESULTS
    return Path(tempfile.mkdtemp(prefix="zoo-experiment-"))


def _desk(
    trainer: str,
    builder: Path | None,
    *,
    url: str,
    ca: Path | None,
    token_file: Path | None,
) -> "Desk | None":
    """Return where models are ordered; None to make them here.

    Raises:
        InvalidSpecError: one of the two that belong together is missing, or a URL or
            token that cannot be used.
        LocalError: a file cannot be read.
    """
    from trainer.experiments.engine.ordering import Desk, ordering

    if not trainer and builder is None:
        return None
    if not trainer or builder is None:
        msg = "--trainer and --builder go together: who makes models, and whose key"
        raise InvalidSpecError(msg)
    desk = Desk(url=url, trainer=trainer, builder=builder, token_file=token_file, ca=ca)
    with ordering(desk):  # what is wrong with it is told here, not by every station
        return desk


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
