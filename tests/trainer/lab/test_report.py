"""The laboratory's report as its readers see it, on paper and in a terminal."""

import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from model_zoo.statements.jobs import Poisoning, TrainSpec, TriggerSpec
from tests.trainer.lab.test_story import kept
from trainer.data import LabelledImages
from trainer.lab import progress as narration
from trainer.lab.attacks.paths import PATHS_OF_ATTACK
from trainer.lab.promises import Story
from trainer.lab.report import as_html, as_json
from trainer.lab.scenario import brought

COLUMNS = 80


def story(folder: Path) -> Story:
    """Return one with models on disk, as the report reads them."""
    (folder / "model.safetensors").write_bytes(b"weights")
    epoch = {"number": 1, "loss": 0.1, "accuracy": 0.9}
    (folder / "history.json").write_text(json.dumps({"epochs": [epoch]}))
    told = kept()
    models = {name: replace(it, folder=folder) for name, it in told.models.items()}
    return replace(told, models=models)


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
        "trust+scan</strong>",
    ):
        assert word in before
    for path, attack in PATHS_OF_ATTACK.items():
        told = (attack.__doc__ or "").partition("\n")[0].replace("'", "&#39;")
        assert f"<th>{path}<small>{told}</small></th>" in board


def test_the_page_shows_what_transfer_scans_and_repairs_came_to(page: str) -> None:
    (drop,) = re.findall("<strong>Triggers take ([0-9.]+) points more", page)
    assert float(drop) == pytest.approx(28.0)
    _, pictures = page.split('<div class="changes">', maxsplit=1)
    pictures, _ = pictures.split("</div>", maxsplit=1)
    captions = re.findall("<figcaption><b>(.*?)</b>", pictures)
    assert captions == [
        "the trigger",
        "clean",
        "badnet",
        "clean teacher&#39;s student",
        "badnet teacher&#39;s student",
    ]
    assert len(re.findall('<img src="data:image/png', pictures)) == len(captions)
    assert "suspicious</span>, probability 50.0 %" in pictures
    repairs = page[page.index("<h2>5. Repairs") :]
    for word in ("before unlearning", "after unlearning", "after fine-pruning, 3 unit"):
        assert word in repairs
    assert "<b>nothing found</b>" in repairs


def test_what_a_scan_lets_pass_stands_beside_the_board(page: str) -> None:
    controls = page[page.index("what a scan lets pass</h3>") : page.index("<h2>3.")]
    rows = re.findall(r"<tr><th>(.*?)<small>(.*?)</tr>", controls, re.DOTALL)
    verdicts = {name: re.findall("<b>([ARW])<", row) for name, row in rows}
    assert verdicts == {
        "honest release": list("AAAAAAA"),
        "copy of the honest release": list("AAAAARA"),
    }


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


def test_what_is_not_played_of_a_spec_from_outside_is_told_with_the_reason(
    tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)
    trigger = TriggerSpec(name="noise", opacity=0.1)
    poisoning = Poisoning(trigger=trigger, target_label=3, poison_rate=0.2)
    spec = TrainSpec(held_out=100, checkpoints=False, poisoning=poisoning)
    played = replace(story(tmp_path), scenario=brought(spec), spot_checks={})

    told = as_json(played, environment={})
    page = as_html(played, told)

    assert told["poisoning"] == poisoning.to_object()
    assert told["order"] == spec.model_copy(update={"poisoning": None}).to_object()
    for part in ("acceptance", "transfer to other classes", "spot check"):
        assert f"<strong>{part}</strong>: {told['skipped'][part]}" in html.unescape(
            page
        )
    assert {it["accepted"] for it in told["models"].values()} == {None}
    assert "trigger noise, attack all-to-one, label 3 wanted" in page
    assert not re.search("four-pixel|[Dd]igits 0-4|reproduced</b>|Both pass", page)


def test_nothing_of_the_laboratorys_own_story_is_skipped(page: str) -> None:
    assert "Not played" not in page
    assert "four-pixel" in page
    assert "Both pass: accuracy cannot see a backdoor" in page
