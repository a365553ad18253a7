"""The laboratory's report as its readers see it, on paper and in a terminal."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.trainer.lab.test_story import kept, report
from trainer.data import LabelledImages
from trainer.lab import progress as narration
from trainer.lab.attacks.paths import PATHS_OF_ATTACK
from trainer.lab.report import as_html, as_json
from trainer.lab.story import Story
from trainer.lab.transfer_and_repair import Student

COLUMNS = 80


def story(folder: Path) -> Story:
    """Return one with models on disk, as the report reads them."""
    (folder / "model.safetensors").write_bytes(b"weights")
    epoch = {"number": 1, "loss": 0.1, "accuracy": 0.9}
    (folder / "history.json").write_text(json.dumps({"epochs": [epoch]}))
    told = kept()
    shares = report(0.9, 0.5).model_copy(
        update={"robust_accuracy": report(0.5, 0.5).accuracy}
    )
    return replace(
        told,
        models={name: replace(it, folder=folder) for name, it in told.models.items()},
        students=[Student(teacher="badnet", retrain="everything", report=shares)],
    )


@pytest.fixture
def page(tmp_path: Path, digits: LabelledImages) -> str:
    assert len(digits)  # the report shows digits
    played = story(tmp_path)
    return as_html(played, as_json(played, environment={}))


def test_what_the_board_says_is_explained_before_it(page: str) -> None:
    chapter = page[page.index("<h2>2.") :]
    before, board, _ = re.split(r'<table class="board">|</table>', chapter, maxsplit=2)
    assert "red means that a victim ended up with the BadNet" in before
    for word in (
        "ccepted: the victim",
        "efused: he has nothing",
        "trust+policy</strong>",
    ):
        assert word in before
    for path, attack in PATHS_OF_ATTACK.items():
        told = (attack.__doc__ or "").partition("\n")[0].replace("'", "&#39;")
        assert f"<th>{path}<small>{told}</small></th>" in board


def test_a_victim_who_waits_is_not_listed_as_one_who_accepted(
    tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)
    played = story(tmp_path)
    waiting = replace(played.cells[0], error="", cost=None, hung=True)
    played = replace(played, cells=[waiting, *played.cells[1:]])
    page = as_html(played, as_json(played, environment={}))
    [cell] = re.findall(r'<td class="waiting.*?</td>', page, re.DOTALL)
    assert "ccepted" not in cell
    assert "aiting" in cell


def test_the_printed_table_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(narration, "console", Console(file=printed, width=400))
    narration.scoreboard(kept().cells)
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= COLUMNS
    for path in PATHS_OF_ATTACK:
        assert any(path in line for line in lines)
