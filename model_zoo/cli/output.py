"""What a command says: words on stderr for people, one JSON document on stdout."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.text import Text

from model_zoo.canonical import JsonObject
from model_zoo.errors import (
    ConflictError,
    ExpectationError,
    InvalidSpecError,
    LocalError,
    NotFoundError,
    NotPermittedError,
    TransportError,
    VerificationError,
    ZooError,
)
from model_zoo.statements.folder import FileProgress
from model_zoo.statements.manifest import FileEntry
from model_zoo.text import printable

EXIT_CODES: Mapping[type[ZooError], int] = {
    ExpectationError: 1,
    LocalError: 1,
    InvalidSpecError: 2,
    TransportError: 3,
    VerificationError: 4,
    NotFoundError: 5,
    NotPermittedError: 5,
    ConflictError: 5,
    ZooError: 1,
}

console = Console(stderr=True, highlight=False)


class _Mode:
    """Whether this process answers a program (JSON) or a person."""

    json = False


def answer_in_json(*, chosen: bool) -> None:
    """Choose for the rest of the process what ``emit`` and ``say`` do."""
    _Mode.json = chosen


def emit(document: JsonObject) -> bool:
    """Print ``document`` on stdout if the command was asked for JSON; return if so."""
    if _Mode.json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return _Mode.json


def say(text: str) -> None:
    """Print one line for a person, on stderr.

    Names, errors and logs come from servers and workers that may be hostile: what
    could steer a terminal, or start a line of its own, is shown escaped.
    """
    console.print(Text(printable(text)), soft_wrap=True)


@contextmanager
def file_progress() -> Iterator[FileProgress]:
    """Yield a callback that draws one bar a file on a terminal, and else nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    quiet = _Mode.json or not console.is_terminal
    with Progress(*columns, console=console, disable=quiet) as bars:
        tasks: dict[str, TaskID] = {}

        def moved(file: FileEntry, count: int) -> None:
            if file.name not in tasks:
                tasks[file.name] = bars.add_task(file.name, total=file.size_bytes)
            bars.advance(tasks[file.name], count)

        yield moved


def exit_code(error: ZooError) -> int:
    """Return the exit code for ``error``, that of its nearest class in the table."""
    return EXIT_CODES[decision(error)]


def decision(error: ZooError) -> type[ZooError]:
    """Return the kind of error that asks the same of a user."""
    return next(kind for kind in type(error).__mro__ if kind in EXIT_CODES)
