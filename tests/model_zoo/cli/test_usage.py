"""What somebody meets who types ``zoo`` for the first time, or types it wrong."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import pytest
import typer

from model_zoo import __version__, cli
from model_zoo.extras import install_line

ROOT = Path(__file__).parents[3]
MARKS = re.compile(r"`|^ *(?:Args|Raises|Returns|Source|Yields):|:\w+:`", re.MULTILINE)


class Command(Protocol):
    help: str | None
    params: list[object]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model_zoo", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def commands(command: Command, words: str = "zoo") -> Iterator[tuple[str, Command]]:
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{words} {name}")


def test_it_says_which_version_it_is() -> None:
    assert run("--version").stdout == f"zoo {__version__}\n"
    assert json.loads(run("--version", "--json").stdout) == {"version": __version__}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["publish"], "see: zoo publish --help"),
        (["no-such-command"], "No such command 'no-such-command'"),
        (["--no-such-option"], "No such option"),
        (["pull", "alice/digits@1", "--threshold", "few"], "--threshold"),
        (["trust"], "see: zoo trust --help"),
        ([], "see: zoo --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_json_document_and_code_2(
    wrong: list[str], told: str
) -> None:
    ran = run(*wrong, "--json")
    document = json.loads(ran.stdout)
    assert ran.returncode == 2
    assert document["error"] == "InvalidSpecError"
    assert told in document["message"]
    assert "zoo: " in ran.stderr


def test_a_group_without_a_command_shows_a_person_its_commands() -> None:
    ran = run("keys")
    assert ran.returncode == 2
    assert "generate" in ran.stdout


def test_no_help_speaks_to_readers_of_the_source() -> None:
    root = cast("Command", typer.main.get_command(cli.build()))
    told = {
        words: [
            inspect.cleandoc(command.help or ""),
            *(getattr(it, "help", None) or "" for it in command.params),
        ]
        for words, command in commands(root)
    }
    assert len(told) > 40
    assert [words for words, texts in told.items() if not texts[0]] == []
    marked = [words for words, texts in told.items() if MARKS.search("\n".join(texts))]
    assert marked == []


def test_ctrl_c_during_imports_prints_no_traceback(tmp_path: Path) -> None:
    """``rich`` is replaced by a module during whose import the signal arrives."""
    (tmp_path / "rich.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    )
    ran = run("list", PYTHONPATH=str(tmp_path))
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_no_file_tells_anybody_to_install_a_name_that_nobody_owns() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    sources = [
        path
        for folder in ("model_zoo", "service", "trainer", "containers")
        for path in (ROOT / folder).rglob("*.py")
    ]
    told = re.compile(r"pip install [^\n]*verified-model-zoo")
    naming = [path for path in (*pages, *sources) if told.search(path.read_text())]
    assert naming == []
    assert "checkout" in install_line("service")
