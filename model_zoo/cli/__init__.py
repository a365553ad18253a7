"""The ``zoo`` command: the client's nouns, and what the installed extras add."""

import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated, NoReturn

import typer

from model_zoo.cli import (
    auditing,
    bindings,
    ceremony,
    jobs,
    keys,
    operator,
    releases,
    trust_check,
    trusting,
    witness,
)
from model_zoo.cli.exits import exit_code
from model_zoo.cli.output import answer_in_json, emit, say
from model_zoo.errors import LocalError, ZooError

COMMANDS_GROUP = "verified_model_zoo.commands"
EXTRAS = {
    "alembic": "service",
    "fastapi": "service",
    "jinja2": "trainer",
    "matplotlib": "trainer",
    "numpy": "trainer",
    "safetensors": "trainer",
    "sqlalchemy": "service",
    "starlette": "service",
    "torch": "trainer",
    "torchvision": "trainer",
    "uvicorn": "service",
}
"""The modules a command may find missing, and the extra that brings each."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with the code that the error table gives."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        build()(_json_first(given), prog_name="zoo")
    except ModuleNotFoundError as error:
        _refuse(_missing_extra(error))
    except ZooError as error:
        _refuse(error)
    sys.exit(0)


def build() -> typer.Typer:
    """Return the whole command: ours and those of the installed packages."""
    app = typer.Typer(
        callback=_root,
        help="A model zoo that serves only what it can prove.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.add_typer(keys.app, name="keys")
    releases.register(app)
    trusting.register(app)
    witness.register(app)
    auditing.register(app)
    trust = typer.Typer(help="The trust root: make it, sign it, change it, look at it.")
    ceremony.register(trust)
    operator.register(trust)
    trust.command("check")(trust_check.check)
    app.add_typer(trust, name="trust")
    app.add_typer(jobs.app, name="jobs")
    app.add_typer(bindings.publishers, name="publishers")
    app.add_typer(bindings.trainers, name="trainers")
    for plugin in sorted(entry_points(group=COMMANDS_GROUP)):
        plugin.load()(app)
    return app


def _root(
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    answer_in_json(chosen=json)


def _json_first(arguments: list[str]) -> list[str]:
    """Let ``--json`` stand anywhere: click knows it before the command only."""
    rest = [argument for argument in arguments if argument != "--json"]
    return ["--json", *rest] if len(rest) < len(arguments) else rest


def _missing_extra(error: ModuleNotFoundError) -> LocalError:
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        raise error
    return LocalError(
        f"this command needs {module}, which is not installed; "
        f"run: pip install 'verified-model-zoo[{EXTRAS[module]}]'"
    )


def _refuse(error: ZooError) -> NoReturn:
    say(f"zoo: {error}")
    emit({"error": type(error).__name__, "message": str(error)})
    sys.exit(exit_code(error))
