"""``zoo experiment``: run what is missing, and tell what it adds up to."""

import difflib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from model_zoo.canonical import JsonObject
from model_zoo.cli.options import DEFAULT_URL, Authority, TokenFile, Url
from model_zoo.cli.output import console, emit, say
from model_zoo.errors import (
    ExpectationError,
    InvalidSpecError,
    LocalError,
    TransportError,
    VerificationError,
    ZooError,
)
from trainer.experiments.sticker_cli import SQUARE, STICKER, Photographed, show_sticker

if TYPE_CHECKING:
    from trainer.experiments.contract import Cell, Experiment, Finished, Scale
    from trainer.experiments.ordering import Desk
    from trainer.experiments.results import Result
    from trainer.experiments.running import Told

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


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options say: where results go, on how much, and with what."""

    folder: Path
    _: KW_ONLY
    scale: "Scale"
    seeds: int
    processes: int
    desk: "Desk | None" = None

    def cells(self, it: "Experiment") -> "list[Cell]":
        count = 1 if self.scale == "quick" else self.seeds or it.seeds
        return [cell for seed in range(count) for cell in it.cells(seed, self.scale)]


@dataclass(frozen=True, slots=True)
class _Came:
    """What came of it, by the name of the experiment."""

    missed: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, ZooError] = field(default_factory=dict)


def commands(app: typer.Typer) -> None:
    """Add ``zoo experiment`` to ``app``."""
    app.command("experiment")(experiment)


def experiment(
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
    if name == STICKER:
        of_runs = {
            "seeds": seeds,
            "processes": processes,
            "trainer": trainer or builder,
        }
        _refuse(of_runs, f"not with {STICKER}, whose detector is made here")
        show_sticker(photo, out=out, scale=scale)
        return
    _refuse(photo.options(), f"only with {STICKER}")
    if not name:
        _list(_Asked(out or RESULTS, scale=scale, seeds=seeds, processes=processes))
        return
    chosen = _chosen(name)
    folder = out or _folder(scale)
    desk = _desk(trainer, builder, url=url, ca=ca, token_file=token_file)
    asked = _Asked(folder, scale=scale, seeds=seeds, processes=processes, desk=desk)
    _run_chosen(chosen, asked)


def _folder(scale: "Scale") -> Path:
    """Return where results go unless told."""
    if scale == "full":
        return RESULTS
    return Path(tempfile.mkdtemp(prefix="zoo-experiment-"))


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Refuse options that would be passed over in silence.

    Raises:
        InvalidSpecError: one of them is given.
    """
    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        msg = f"{', '.join(given)}: {why}"
        raise InvalidSpecError(msg)


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
    from trainer.experiments.ordering import Desk, ordering

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


def _list(asked: _Asked) -> None:
    """Tell every experiment, and how many of its cells are finished."""
    from trainer.experiments.catalogue import EXPERIMENTS
    from trainer.experiments.ledger import Ledger

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


def _run_chosen(chosen: "list[Experiment]", asked: _Asked) -> None:
    """Run what was chosen, and say what came of it; an interrupt loses no cell."""
    try:
        came = _run_all(chosen, asked)
    except KeyboardInterrupt:
        say(f"interrupted: finished cells are kept in {asked.folder}; run it again")
        raise
    _conclude(came, asked)


def _run_all(chosen: "list[Experiment]", asked: _Asked) -> _Came:
    """Run one after another; of several, one that cannot be run stops no other."""
    from trainer.experiments.needs import require_data

    came = _Came()
    for it in chosen:
        try:
            require_data(it)
        except ZooError as error:
            if len(chosen) == 1:
                raise
            came.skipped[it.name] = str(error)
            continue
        try:
            result = _run(it, asked)
        except ZooError as error:
            if len(chosen) == 1:
                raise
            came.failed[it.name] = error
            say(f"{it.name}: {error}")
            continue
        claims = result.summary.claims
        came.missed[it.name] = [it.what for it in claims if it.verdict == "missed"]
    return came


def _run(it: "Experiment", asked: _Asked) -> "Result":
    """Run what is missing of one experiment; write and tell what it adds up to."""
    from trainer.experiments.ledger import Ledger
    from trainer.experiments.needs import require_same_origin
    from trainer.experiments.report import write_report
    from trainer.experiments.results import write_results
    from trainer.experiments.running import Stations, most_processes, run_missing
    from trainer.experiments.workshop import models_folder

    cells, ledger, models = asked.cells(it), Ledger(asked.folder), models_folder()
    if asked.desk is not None:
        models = asked.desk.folder_in(models)
    there = ledger.find(cells)
    who = asked.desk.who() if asked.desk else ""
    require_same_origin(it, cells, finished=there, made_by=who)
    missing = len(cells) - len(there)
    say(f"{it.name}: {it.title} ({it.section}); {missing} of {len(cells)} cells to run")
    stations = Stations(
        count=asked.processes or most_processes(it.mib),
        models=models,
        log=models / "stations.log",
        desk=asked.desk,
    )
    with _progress(it.name, missing) as told:
        finished = run_missing(cells, ledger=ledger, stations=stations, told=told)
    result = write_results(it, finished, folder=asked.folder, scale=asked.scale)
    write_report(asked.folder, scale=asked.scale)
    minutes = result.seconds / 60 / len(result.seeds)
    say(f"  a seed: {minutes:.1f} min of one core; at most {result.peak_mib} MiB")
    for claim in result.summary.claims:
        ours = "not measured" if claim.ours is None else claim.ours.told(claim.unit)
        paper = "" if claim.paper is None else f"; paper {claim.paper} {claim.unit}"
        say(f"  {claim.what}: {ours}{paper}")
        say(f"    goal: {claim.goal}: {claim.verdict}")
    return result


@contextmanager
def _progress(name: str, missing: int) -> "Iterator[Told]":
    """Yield what tells of each cell: a bar on a terminal, else a line a cell."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells, time left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(name, total=missing, visible=missing > 0)

        def told(cell: "Cell", finished: "Finished", done: int, total: int) -> None:
            bars.advance(task)
            if not console.is_terminal:
                part = ", ".join(str(value) for value in cell.part.values())
                seconds = f"{finished.seconds:.0f} s"
                say(f"  {done}/{total} seed {cell.seed}, {part}: {seconds}")

        yield told


def _conclude(came: _Came, asked: _Asked) -> None:
    """Say where everything is and what is not there.

    Raises:
        ExpectationError: a goal is missed.
        VerificationError: of the experiments that failed, one met what cannot be
            believed.
        TransportError: for one, bytes did not arrive.
        LocalError: one failed in another way.
    """
    for reason in dict.fromkeys(came.skipped.values()):
        names = [name for name, its in came.skipped.items() if its == reason]
        say(f"skipped for want of data ({len(names)}): {', '.join(names)}: {reason}")
    say(f"results: {asked.folder}")
    emit(
        {
            "folder": str(asked.folder),
            "experiments": list(came.missed),
            "missed": came.missed,
            "skipped": came.skipped,
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
