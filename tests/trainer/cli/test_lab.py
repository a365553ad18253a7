"""``zoo lab``: what it asks for before anything is played."""

from pathlib import Path

import pytest
import typer

from model_zoo.errors import InvalidSpecError
from trainer.cli.lab import commands, lab

APP = typer.Typer()
commands(APP)
CONTEXT = typer.Context(typer.main.get_command(APP))


@pytest.mark.parametrize("given", ["trust", "safe", "neither"])
def test_a_zoo_that_runs_already_comes_with_its_root_and_its_operators_keys(
    given: str, tmp_path: Path
) -> None:
    trust = tmp_path / "root.json" if given == "trust" else None
    safe = tmp_path / "safe" if given == "safe" else None
    with pytest.raises(InvalidSpecError, match="root and the operator's safe"):
        lab(
            CONTEXT,
            out=tmp_path / "out",
            url="http://127.0.0.1:9",
            trust=trust,
            safe=safe,
        )
    assert not (tmp_path / "out").exists()
