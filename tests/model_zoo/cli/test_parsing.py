"""Options objects: one parameter of a command, an option for each of its fields."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from model_zoo.cli.options import Connection
from model_zoo.cli.parsing import spread


@dataclass(frozen=True, kw_only=True)
class Place:
    host: Annotated[str, typer.Option("--host")] = "here"
    port: Annotated[int, typer.Option("--port")] = 1


@pytest.mark.parametrize(
    ("words", "place"),
    [
        pytest.param([], Place(), id="defaults"),
        pytest.param(["--port", "7"], Place(port=7), id="one of them"),
        pytest.param(
            ["--host", "there", "--port", "7"], Place(host="there", port=7), id="both"
        ),
    ],
)
def test_a_command_is_called_with_the_object_that_its_options_make(
    words: list[str], place: Place
) -> None:
    visited: list[tuple[str, Place, bool]] = []

    def visit(
        name: str,
        *,
        place: Place,
        twice: Annotated[bool, typer.Option("--twice")] = False,
    ) -> None:
        visited.append((name, place, twice))

    app = typer.Typer()
    app.command()(spread(visit))
    ended = CliRunner().invoke(app, ["alice", *words, "--twice"])
    assert ended.exit_code == 0, ended.output
    assert visited == [("alice", place, True)]


def test_a_command_without_objects_stays_what_it_is() -> None:
    def leave(name: str) -> None:
        raise AssertionError(name)

    assert spread(leave) is leave


def test_a_connection_brings_the_token_from_its_file(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("secrets") / "token"
    file.write_text("a-token\nand no second line\n")
    server = Connection(url="http://127.0.0.1:9", token_file=file).server()
    assert (server.url, server.token) == ("http://127.0.0.1:9", "a-token")
