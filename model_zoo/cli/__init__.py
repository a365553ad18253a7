"""The ``zoo`` command: the client's nouns, and what the installed extras add."""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, NoReturn

import typer

from model_zoo import __version__
from model_zoo.cli import (
    audits,
    ceremony,
    jobs,
    keys,
    operator,
    publishers,
    releases,
    witness,
)
from model_zoo.cli.output import answer_in_json, emit, exit_code, say
from model_zoo.cli.parsing import StrictCommand, spread
from model_zoo.errors import InvalidSpecError, LocalError, ZooError
from model_zoo.extras import install_line

COMMANDS_GROUP = "verified_model_zoo.commands"
EXTRAS = {
    "alembic": "service",
    "fastapi": "service",
    "jinja2": "trainer",
    "markdown_it": "trainer",
    "matplotlib": "trainer",
    "numpy": "trainer",
    "safetensors": "trainer",
    "scipy": "trainer",
    "sqlalchemy": "service",
    "starlette": "service",
    "torch": "trainer",
    "torchvision": "trainer",
    "trustme": "trainer",
    "uvicorn": "service",
}
"""The modules a command may find missing, and the extra that brings each."""
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Of the click that typer brings along; which one that is differs with its version."""

_SECTION = re.compile(r"^(?:Args|Raises|Returns|Source|Yields):$", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with the code that the error table gives."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    in_json = "--json" in given
    answer_in_json(chosen=in_json)  # before what is wrong with the rest is found
    try:
        command = _command(in_json=in_json)
        code = command(_json_first(given), prog_name="zoo", standalone_mode=False)
    except ModuleNotFoundError as error:
        _refuse(_missing_extra(error))
    except UsageError as error:
        _refuse(_usage(error))
    except typer.Abort:
        sys.exit("Aborted.")
    except ZooError as error:
        _refuse(error)
    sys.exit(code or 0)


@cache
def _command(*, in_json: bool) -> Callable[..., Any]:
    """Return what parses and acts; it is the same however often it is called."""
    command = typer.main.get_command(build())
    if in_json:
        _demand_commands(command)
    return command


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
    publishers.register(app)
    witness.register(app)
    audits.register(app)
    trust = typer.Typer(help="The trust root: make it, sign it, change it, look at it.")
    ceremony.register(trust)
    operator.register(trust)
    trust.command("check")(audits.check)
    app.add_typer(trust, name="trust")
    app.add_typer(jobs.app, name="jobs")
    app.add_typer(publishers.app, name="publishers")
    app.add_typer(publishers.trainers, name="trainers")
    for plugin in sorted(entry_points(group=COMMANDS_GROUP)):
        plugin.load()(app)
    _describe(app)
    return app


def _root(
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            is_eager=True,
            callback=lambda chosen: _version() if chosen else None,
        ),
    ] = False,
) -> None:
    pass


def _version() -> NoReturn:
    if not emit({"version": __version__}):
        typer.echo(f"zoo {__version__}")
    raise typer.Exit


def _demand_commands(command: Any) -> None:  # noqa: ANN401  click's, typer brings it
    """Let a group without a command be an error; its help is for people only."""
    command.no_args_is_help = False
    for child in getattr(command, "commands", {}).values():
        _demand_commands(child)


def _describe(app: typer.Typer) -> None:
    """Give every command its parser, and what of its docstring is for users as help."""
    for command in app.registered_commands:
        command.cls = StrictCommand
        if command.callback is not None:
            command.help = _prose(inspect.getdoc(command.callback) or "")
            command.callback = spread(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _describe(group.typer_instance)


def _prose(docstring: str) -> str:
    """Return what stands before the first section, without reStructuredText's marks."""
    return _SECTION.split(docstring)[0].replace("`", "").strip()


def _usage(error: Exception) -> InvalidSpecError:
    """Return click's refusal of a command line as ours, with where to read on."""
    context = getattr(error, "ctx", None)
    where = "zoo" if context is None else context.command_path
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        message = "say which command"
    return InvalidSpecError(f"{message.strip().rstrip('.')}; see: {where} --help")


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
        f"{install_line(EXTRAS[module])}"
    )


def _refuse(error: ZooError) -> NoReturn:
    say(f"zoo: {error}")
    emit({"error": type(error).__name__, "message": str(error)})
    sys.exit(exit_code(error))
