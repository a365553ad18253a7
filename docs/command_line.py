# ruff: noqa: INP001  a script beside the pages, not part of a package
"""Print docs/reference/command-line.md as the ``zoo`` command describes itself.

Run as ``python docs/command_line.py > docs/reference/command-line.md``; a test
compares the two.
"""

import sys
from collections.abc import Iterator
from typing import Protocol, cast

import typer

from model_zoo.cli import build

HEAD = """\
# Command line

This page is written by `python docs/command_line.py` from the command itself; a test
fails when the two differ.

`--json` may stand anywhere. With it a command prints one JSON document on stdout, of
wrong usage too; what it tells people goes to stderr either way. `zoo --version` prints
the version. [Exit codes](errors.md#exit-codes) say what to do next. Environment
variables are listed in [Settings](settings.md).

`zoo serve` needs the `service` extra. `zoo worker`, `zoo train`, `zoo fine-tune`,
`zoo repair`, `zoo evaluate`, `zoo scan`, `zoo inspect`, `zoo filter`, `zoo guard`,
`zoo diff`, `zoo population`, `zoo accept`, `zoo data`, `zoo experiment` and `zoo lab`
need the `trainer` extra; `zoo lab` without `--url` needs both. Without it they exit 1
and print the line that installs it from a checkout.

Where an option names a file or folder to be written (`--out`, `--to`), nothing that
lies there is overwritten: exit 5. `zoo lab` and `zoo experiment` go on in theirs.
"""


class Parameter(Protocol):
    """What is read of an argument or option, whichever click typer brings."""

    name: str
    opts: list[str]
    required: bool
    multiple: bool
    nargs: int
    default: object
    help: str | None
    envvar: str | None


class Command(Protocol):
    """What is read of a command; a group has ``commands``, too."""

    help: str | None
    params: list[Parameter]


def pages() -> Iterator[str]:
    """Yield the page in pieces: its head, then one section a command."""
    yield HEAD
    # typer names its own kind of parameter, and brings another click in each version
    root = cast("Command", typer.main.get_command(build()))
    for words, command in commands(root, ("zoo",)):
        yield _section(words, command)


def commands(
    command: Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yield every command at or below ``command`` with the words that call it."""
    children: dict[str, Command] = getattr(command, "commands", {})
    if not children:
        yield words, command
    for name in sorted(children):
        yield from commands(children[name], (*words, name))


def _section(words: tuple[str, ...], command: Command) -> str:
    arguments = [it for it in command.params if not it.opts[0].startswith("-")]
    options = [it for it in command.params if it.opts[0].startswith("-")]
    usage = " ".join([*words, *map(_placed, arguments), "[OPTIONS]"])
    lines = [f"\n## {' '.join(words)}\n", f"```\n{usage}\n```\n"]
    # What follows a docstring's first paragraph is for readers of the source.
    lines += [" ".join((command.help or "").split("\n\n")[0].split()), ""]
    lines += [f"- `{_word(it)}`: {it.help}" for it in arguments if it.help]
    lines += [_option(it) for it in options if it.name != "help"]
    return "\n".join(lines).rstrip() + "\n"


def _word(argument: Parameter) -> str:
    return argument.name.upper()


def _placed(argument: Parameter) -> str:
    word = _word(argument) + ("..." if argument.nargs < 0 else "")
    return word if argument.required else f"[{word}]"


def _option(option: Parameter) -> str:
    told = (option.help or "a share from 0 to 1").rstrip(".")
    facts = [
        fact
        for fact, holds in (
            ("required", option.required),
            ("may be given again", option.multiple and "repeatable" not in told),
            (f"default `{option.default}`", option.default and not option.required),
            (f"environment `{option.envvar}`", option.envvar),
        )
        if holds
    ]
    return f"- `{', '.join(option.opts)}`: {told}" + (
        f" ({', '.join(facts)})." if facts else "."
    )


if __name__ == "__main__":
    sys.stdout.writelines(pages())
