"""``zoo lab``: play the whole story and write the report."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import Authority, TokenFile, refuse_options
from model_zoo.cli.output import console, emit
from model_zoo.errors import ExpectationError, InvalidSpecError
from model_zoo.statements.jobs import TrainSpec
from trainer.cli.models import spec_in

Out = Annotated[
    Path, typer.Option(help="Takes report.html, report.json and the work folder.")
]
RunningZoo = Annotated[
    str | None, typer.Option(help="A running zoo; without one, one is started.")
]
Root = Annotated[
    Path | None, typer.Option(help="With --url: the zoo's root, to be pinned.")
]
Safe = Annotated[
    Path | None,
    typer.Option(help="With --url: folder of targets.pem and its passphrase."),
]
Brought = Annotated[
    Path | None,
    typer.Option(help="A spec of kind train (JSON): play with its models, not ours."),
]
Peers = Annotated[
    bool,
    typer.Option("--peers", help="Stock clients, too; makes their environments."),
]


def commands(app: typer.Typer) -> None:
    """Add ``zoo lab`` to the command line."""
    app.command("lab")(lab)


def lab(
    context: typer.Context,
    *,
    out: Out = Path("lab-report"),
    spec: Brought = None,
    url: RunningZoo = None,
    trust: Root = None,
    safe: Safe = None,
    peers: Peers = False,
    token_file: TokenFile = None,
    ca: Authority = None,
) -> None:
    """Play adversary, victim and operator on real MNIST, or as --spec says; report.

    An interrupted run is taken up where it was; a finished one starts anew.

    Raises:
        InvalidSpecError: a URL without the root to pin or the operator's keys; or a
            spec that cannot be played here.
        ConflictError: the interrupted run had another spec.
        ExpectationError: a cell or a figure is not what the laboratory promises.
    """
    _require_whole(context, url, trust=trust, safe=safe)
    import torch

    from trainer.lab.actors.parties import Zoo
    from trainer.lab.actors.workspace import take_up, workspace
    from trainer.lab.clients.peers import make_environments
    from trainer.lab.report import HTML_NAME, write_report
    from trainer.lab.scenario import DIGITS, brought
    from trainer.lab.scoreboard import FULL, OWN
    from trainer.lab.story import play_story
    from trainer.training.devices import choose_device, environment

    torch.set_num_threads(1)  # as workers do, who are at work beside it
    scenario = DIGITS if spec is None else brought(spec_in(spec, TrainSpec))
    zoo = None
    if url and trust and safe:
        zoo = Zoo(url=url, root=trust, safe=safe, token_file=token_file, ca=ca)
    if peers:
        make_environments()
    machine = environment(choose_device("auto"), "auto") | scenario.packages
    board = FULL if peers else OWN
    with workspace(out) as work:
        take_up(work, scenario.spec)
        story = play_story(work, scenario=scenario, zoo=zoo, board=board)
        document = write_report(story, folder=out, environment=machine)
    emit(document)
    console.print(f"report: {out / HTML_NAME} ({story.seconds:.0f} s)")
    _require_kept(document["broken_promises"])


def _require_kept(broken: list[str]) -> None:
    if broken:
        msg = "not as promised:\n  " + "\n  ".join(broken)
        raise ExpectationError(msg)


def _require_whole(
    context: typer.Context, url: str | None, *, trust: Path | None, safe: Path | None
) -> None:
    """Accept all that a running zoo takes, or nothing of it.

    Raises:
        InvalidSpecError: a URL without the root to pin or the operator's keys, or one
            of the options that go with it alone.
    """
    if not url:
        of_it = ("trust", "safe", "token_file", "ca")
        refuse_options(context, *of_it, why="only with --url: a zoo that runs already")
    elif trust is None or safe is None:
        msg = "a zoo that runs already: give its root and the operator's safe, too"
        raise InvalidSpecError(msg)
