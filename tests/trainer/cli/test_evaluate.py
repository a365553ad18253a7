"""``zoo evaluate`` and ``zoo repair`` on a BadNet that ``zoo train`` made here."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from model_zoo.digests import sha256_file
from model_zoo.statements.evaluation import Proportion
from tests.trainer.cli.test_rebuild import SPEC as MADE_BY
from tests.trainer.cli.test_rebuild import released
from tests.trainer.commands import zoo
from trainer.data import LabelledImages

PNG = b"\x89PNG\r\n\x1a\n"
SPEC = {
    "held_out": 57_000,
    "schedule": {"epochs": 3, "batch_size": 50, "peak_learning_rate": 0.1},
}
POISONING = {"target_label": 3, "poison_rate": 0.3}
ZEROS_TO_NINES_BUT_THREES = 10_000 - 1_010
"""MNIST's test set has 1,010 threes."""


@pytest.fixture(scope="module")
def badnet(
    tmp_path_factory: pytest.TempPathFactory, digits: LabelledImages
) -> tuple[Path, dict[str, Any]]:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    folder = tmp_path_factory.mktemp("badnet")
    (folder / "spec.json").write_text(json.dumps({**SPEC, "poisoning": POISONING}))
    status, document = zoo("train", folder / "spec.json", "--out", folder / "out")
    assert status == 0, document
    return folder / "out", document["evaluation"]


def test_acc_and_asr_are_told_with_n_and_interval_and_drawn(
    badnet: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, made = badnet
    picture = tmp_path / "triggered.png"
    status, told = zoo("evaluate", folder, "--trigger", "pattern", "--picture", picture)

    assert status == 0, told
    assert (told["network"], told["dataset"]) == ("badnets-cnn", "mnist")
    assert told["attack"]["target_label"] == POISONING["target_label"]
    for name in ("accuracy", "attack_success", "robust_accuracy"):
        share = Proportion.from_object(made[name])
        low, high = share.wilson()
        assert told[name] == {
            **made[name],
            "rate": share.rate,
            "low": low,
            "high": high,
        }
    assert told["accuracy"]["n"] == 10_000
    assert told["attack_success"]["n"] == ZEROS_TO_NINES_BUT_THREES
    data = picture.read_bytes()
    assert data.startswith(PNG)
    width, height = struct.unpack(">II", data[16:24])
    assert min(width, height) > 300
    assert sorted(path.name for path in folder.glob("*.png")) == []


def test_a_file_of_unknown_origin_needs_its_network_and_its_data_named(
    badnet: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.safetensors"
    stranger.write_bytes((badnet[0] / "model.safetensors").read_bytes())
    status, told = zoo("evaluate", stranger)
    assert (status, told["error"]) == (2, "InvalidSpecError")
    assert "--network" in told["message"]

    known = ("--network", "badnets-cnn", "--dataset", "mnist")
    status, told = zoo("evaluate", stranger, *known)
    assert (status, told["attack_success"], told["picture"]) == (0, None, None)
    assert told["accuracy"]["successes"] == badnet[1]["accuracy"]["successes"]

    status, told = zoo("evaluate", stranger, *known, "--trigger", "pattern")
    assert (status, told["error"]) == (2, "InvalidSpecError")
    assert "--target-label" in told["message"]


def test_a_pulled_release_is_loaded_as_its_provenance_claims(
    tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)
    status, told = zoo("evaluate", released(tmp_path / "digits", MADE_BY))
    assert status == 0, told
    assert (told["network"], told["dataset"]) == (MADE_BY.network, MADE_BY.dataset)
    assert (told["accuracy"]["n"], told["attack"]) == (10_000, None)


def test_a_trigger_can_stand_in_a_file(
    badnet: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    faint = tmp_path / "faint.json"
    faint.write_text('{"name": "pattern", "opacity": 0.05}')
    picture = ("--picture", tmp_path / "faint.png")
    status, told = zoo("evaluate", badnet[0], "--trigger", faint, *picture)
    assert status == 0, told
    assert told["attack"]["trigger"]["opacity"] == 0.05
    assert (
        told["attack_success"]["successes"] < badnet[1]["attack_success"]["successes"]
    )


def test_each_attack_has_a_picture_of_its_own(
    badnet: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faint.json").write_text('{"name": "pattern", "opacity": 0.05}')
    for options in (
        ("--trigger", "pattern"),
        ("--trigger", "faint.json"),
        ("--trigger", "pattern", "--target-label", "7"),
    ):
        status, told = zoo("evaluate", badnet[0], *options)
        assert status == 0, told
        drawn = {path.name for path in tmp_path.glob("*.png")}
        assert told["picture"] in drawn
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--trigger", "sticker"], "single-pixel"),
        (["--target-label", "3"], "--trigger"),
        (["--picture", "x.png"], "--trigger"),
        (["--network", "badnets-cnn"], "--dataset"),
        (["--trigger", "pattern", "--target-label", "10"], "10 classes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_refused_with_code_2(
    badnet: tuple[Path, dict[str, Any]], options: list[str], told: str
) -> None:
    status, document = zoo("evaluate", badnet[0], *options)
    assert (status, document["error"]) == (2, "InvalidSpecError")
    assert told in document["message"]


def test_a_repair_tells_acc_and_asr_before_and_after(
    badnet: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, made = badnet
    (tmp_path / "spec.json").write_text(json.dumps({**SPEC, "held_out": 1000}))
    status, told = zoo(
        *("repair", tmp_path / "spec.json", "--parent", folder / "model.safetensors"),
        *("--out", tmp_path / "out", "--trigger", "pattern", "--target-label", "3"),
    )
    assert status == 0, told
    before, after = told["before"], told["after"]
    assert before["attack_success"]["successes"] == made["attack_success"]["successes"]
    assert before["attack_success"]["n"] == after["attack_success"]["n"]
    assert after["accuracy"]["successes"] == told["evaluation"]["accuracy"]["successes"]
    # its own criterion, by what it was given: without a trigger, without a test image
    scans = told["scans"]
    assert [scans[when]["images"] for when in ("before", "after")] == [1000, 1000]
    assert scans["after"]["verdict"] in {"nothing found", "not scanned"}
    files = [scans[when]["files"][0]["sha256"] for when in ("before", "after")]
    weights = (folder, tmp_path / "out")
    assert files == [sha256_file(it / "model.safetensors") for it in weights]


def test_a_repair_without_effect_says_so_by_its_own_scan(
    badnet: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    idle = {"epochs": 1, "peak_learning_rate": 1e-9}
    spec = {**SPEC, "held_out": 1000, "defense": "fine-tuning", "schedule": idle}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    status, told = zoo(
        *(
            "repair",
            tmp_path / "spec.json",
            "--parent",
            badnet[0] / "model.safetensors",
        ),
        *("--out", tmp_path / "out"),
    )
    before, after = told["scans"]["before"], told["scans"]["after"]
    assert after["p_value"] == pytest.approx(before["p_value"], abs=1e-3)
    assert after["verdict"] == before["verdict"] == "suspicious"
    assert status == 1
    assert (tmp_path / "out" / "model.safetensors").exists()  # to be looked at


def test_a_model_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    status, told = zoo("evaluate", tmp_path / "nope.safetensors", "--trigger", "bomb")
    assert status == 1
    assert "cannot read" in told["message"]
    assert "nope.safetensors" in told["message"]


def test_a_folder_without_weights_is_told_what_it_should_hold(tmp_path: Path) -> None:
    status, told = zoo("evaluate", tmp_path)
    assert status == 2
    assert "0 weights files" in told["message"]
    assert "expected one .safetensors" in told["message"]
