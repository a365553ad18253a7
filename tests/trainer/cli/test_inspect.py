"""``zoo inspect`` on networks whose every unit is known by hand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.commands import zoo
from tests.trainer.defenses.inspection import four_units as known
from trainer.data import LabelledImages
from trainer.evaluation.acceptance import write_validation
from trainer.networks import NETWORKS
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import seeded_globals

FOUR, FUNCTIONAL = (
    f"tests.trainer.defenses.inspection.four_units:{function}"
    for function in ("four_units", "functional")
)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model of four units and clean images for it."""
    monkeypatch.chdir(ROOT)  # a network of one's own is found in the working folder
    (tmp_path / "model.safetensors").write_bytes(to_bytes(known.four_units()))
    write_validation(tmp_path / "clean.safetensors", known.clean())
    return tmp_path


def inspect(
    here: Path, *options: str | Path, model: str = "model.safetensors"
) -> tuple[int, dict[str, Any]]:
    return zoo("inspect", here / model, "--out", here / "out", *options)


def using(here: Path, network: str) -> tuple[str | Path, ...]:
    return ("--network", network, "--data", here / "clean.safetensors")


def test_it_tells_which_units_never_wake_and_which_label_one_of_them_moves(
    here: Path,
) -> None:
    status, told = inspect(here, *using(here, FOUR))

    assert status == 0, told
    assert told["network"] == FOUR
    assert told["clean"] == "clean.safetensors"
    assert told["accuracy"]["successes"] == told["accuracy"]["n"] == 10
    never = [known.DEAD, known.SLEEPER]
    assert told["layers"] == {"fc1": {"units": 4, "never_activated": never}}
    first, second = told["least_activated"][:2]
    assert (first["layer"], first["unit"]) == ("fc1", known.SLEEPER)
    assert first["maximising_input"] == {
        "activation": 1 / 64,
        "label": 3,
        "label_without_the_unit": 0,
        "largest_logit_change": 10,
        "of_it_beyond_clean_images": 10,
    }
    assert first["forced"]["mean_logit_changes"] == [0, 0, 0, 10]
    assert first["forced"]["labels_changed"]["successes"] == 10
    assert first["forced"]["most_to"] == 3
    assert (second["unit"], second["forced"]) == (known.DEAD, None)
    # once all, and all with and without the two that wake, and forced on three
    ascents = 4 * (2 + 1)
    assert told["forward_passes"] == 10 * (1 + 2 + 3) + ascents
    assert told["gradient_passes"] == 4 * (2 * 12 + 1)


def test_the_page_stands_alone_and_the_file_has_the_numbers_of_every_unit(
    here: Path,
) -> None:
    status, told = inspect(here, *using(here, FOUR), "--units", "1")

    assert status == 0, told
    document = json.loads((here / "out" / "inspect.json").read_bytes())
    every = document.pop("every_unit")
    assert {**document, "folder": str(here / "out")} == told
    assert every["fc1"]["activated"] == [4, 0, 0, 1]
    page = (here / "out" / "inspect.html").read_text()
    assert "default-src 'none'; img-src data:" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 1 + 3  # rates; of one unit input, what matters, bars
    assert all(it.startswith("data:image/png;base64,") for it in sources)
    assert "fc1, unit 2 <em>never activated</em>" in page
    assert "10 of 10 labels change, most to 3 (10)" in page
    assert "What this does not show" in page
    assert "2 of 4 units are never activated" in page
    assert "<p>None does.</p>" in page  # others that go beyond clean images


def test_a_registered_network_is_looked_at_on_the_last_images_of_its_data(
    here: Path, digits: LabelledImages
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    with seeded_globals(0):
        weights = to_bytes(NETWORKS["badnets-cnn"](10))
    (here / "digits.safetensors").write_bytes(weights)
    named = ("--network", "badnets-cnn", "--dataset", "mnist", "--held-out", "40")

    status, told = inspect(
        here, *named, "--layer", "conv1", "--units", "1", model="digits.safetensors"
    )

    assert status == 0, told
    assert told["clean"] == "the last 40 training images of mnist"
    assert told["accuracy"]["n"] == 40
    assert told["layers"].keys() == {"conv1"}
    assert told["layers"]["conv1"]["units"] == told["maximised"] == 16
    assert [len(told[name]) for name in ("least_activated", "furthest")] == [1, 1]


@pytest.mark.parametrize(
    ("model", "network", "options", "code", "told"),
    [
        ("model", FOUR, "--layer conv1", 2, "layers with a ReLU or GELU are fc1"),
        ("model", FOUR, "--spec spec.json", 2, "not some of both"),
        ("model", "four-units", "", 2, "badnets-cnn"),
        ("model", "of four:units", "", 2, "package.module:function"),
        ("functional", FUNCTIONAL, "", 2, "has to be a module"),
        ("functional", FOUR, "", 4, "missing or superfluous"),
    ],
)
def test_what_cannot_be_inspected_is_refused(
    here: Path, model: str, network: str, options: str, code: int, told: str
) -> None:
    (here / "functional.safetensors").write_bytes(to_bytes(known.functional()))
    words = [*using(here, network), *options.split()]

    status, document = inspect(here, *words, model=f"{model}.safetensors")

    assert status == code, document
    assert told in document["message"]
    assert not (here / "out").exists()


def test_what_lies_in_its_folder_is_not_overwritten(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "inspect.html").write_text("mine")

    status, document = inspect(here, *using(here, FOUR))

    assert (status, document["error"]) == (5, "ConflictError")
    assert (here / "out" / "inspect.html").read_text() == "mine"
