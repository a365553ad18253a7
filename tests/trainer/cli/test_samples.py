"""``zoo filter`` and ``zoo guard`` on a small BadNet of real digits."""

import json
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model_zoo.statements.jobs import (
    Draw,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from tests.trainer.commands import zoo
from trainer.attacks.triggers import stamp
from trainer.builds.build import build
from trainer.data import LabelledImages
from trainer.evaluation.acceptance import write_validation

TARGET = 7
TRIGGER = TriggerSpec(name="noise", opacity=0.4)
SPEC = TrainSpec(
    held_out=3_000,
    draw=Draw(images=3_000),
    poisoning=Poisoning(trigger=TRIGGER, target_label=TARGET, poison_rate=0.015),
    schedule=Schedule(epochs=5, batch_size=32, peak_learning_rate=0.1),
    checkpoints=False,
)


@pytest.fixture(scope="module")
def badnet(digits: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``zoo train`` leaves one."""
    assert len(digits)  # MNIST is at hand, or the test is skipped
    folder = tmp_path_factory.mktemp("badnet")
    build(SPEC, folder=folder, device="cpu")
    spec = {"kind": "train", **SPEC.to_object()}
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


def test_most_poisoned_images_are_found_and_the_filter_is_judged_by_the_spec(
    badnet: Path, tmp_path: Path
) -> None:
    """Spectral signatures: of every label they take 1.5 times the share."""
    status, told = zoo(
        "filter",
        badnet,
        "--filter",
        "spectral-signatures",
        "--out",
        tmp_path / "scores.json",
    )

    assert status == 0, told
    assert told["images"] == 3_046  # 1.5 % of them are 46
    recall, precision = (told["evaluation"][it] for it in ("recall", "precision"))
    assert recall["n"] == 46
    assert recall["rate"] > 0.9
    assert precision["n"] == len(told["suspects"])
    assert precision["successes"] == recall["successes"]
    kept = json.loads((tmp_path / "scores.json").read_bytes())
    assert len(kept.pop("scores")) == 3_046
    assert kept == told


def test_the_usual_filter_takes_little_of_labels_that_are_not_poisoned(
    badnet: Path,
) -> None:
    status, told = zoo("filter", badnet)

    assert status == 0, told
    assert told["filter"] == "spectre"
    others = [it for it in told["labels"] if it["label"] != TARGET]
    assert sum(it["suspects"] for it in others) < 0.1 * told["images"]
    assert all(it["strength"] > 0 for it in told["labels"])


def test_images_of_a_file_are_filtered_and_nobody_is_judged(
    badnet: Path, digits: LabelledImages, tmp_path: Path
) -> None:
    write_validation(tmp_path / "set.safetensors", digits.select(torch.arange(300)))
    weights = badnet / "model.safetensors"
    named = ("--data", tmp_path / "set.safetensors", "--network", "badnets-cnn")

    status, told = zoo(
        "filter", weights, *named, "--filter", "spectral-signatures", "--share", "0.1"
    )

    assert status == 0, told
    assert told["training_set"] == "set.safetensors"
    assert told["evaluation"] is None
    for it in told["labels"]:
        assert it["suspects"] == round(0.15 * it["images"])
    # the spec beside the weights names the network as well
    assert zoo("filter", badnet, *named[:2])[1]["network"] == "badnets-cnn"


@pytest.fixture(scope="module")
def inputs(
    test_digits: LabelledImages, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A hundred clean test images, then a hundred others of which none is a 7."""
    path = tmp_path_factory.mktemp("inputs") / "inputs.safetensors"
    others = (test_digits.labels != TARGET).nonzero()[-100:, 0]
    bad = stamp(test_digits.images[others], TRIGGER)
    save_file({"images": torch.cat([test_digits.images[:100], bad])}, path)
    return path


def test_triggered_inputs_are_held_up_and_few_clean_ones(
    badnet: Path, inputs: Path
) -> None:
    status, told = zoo("guard", badnet, "--images", inputs, "--held-out", "3000")

    assert status == 0, told
    assert (told["guard"], told["dataset"]) == ("ted", "mnist")
    assert 1_500 <= told["clean"] <= 1_505  # half, and the odd one of some labels
    flagged = [it["suspicious"] for it in told["images"]]
    assert sum(flagged[:100]) <= 15  # 5 are allowed on average
    turned = [it["label"] == TARGET for it in told["images"][100:]]
    assert sum(turned) > 80
    assert sum(flagged[100:]) > 80
    for it in told["images"]:
        assert it["suspicious"] == (it["score"] > told["threshold"])
    assert told["measured"]["auroc"] > 0.9


def test_fewer_false_alarms_raise_the_threshold_and_the_clean_images_may_be_ones_own(
    badnet: Path, inputs: Path, digits: LabelledImages, tmp_path: Path
) -> None:
    write_validation(tmp_path / "clean.safetensors", digits.select(torch.arange(400)))
    own = ("--data", tmp_path / "clean.safetensors")
    looked = ("guard", badnet, "--images", inputs, *own)

    strict, usual = (
        zoo(*looked, "--false-alarms", share)[1] for share in ("0.01", "0.1")
    )

    assert strict["clean"] == usual["clean"] >= 200  # a label's odd one is among them
    assert strict["threshold"] > usual["threshold"]


FILTER, GUARD = "filter", "guard --images inputs.safetensors"


@pytest.mark.parametrize(
    ("mode", "options", "code", "told"),
    [
        (FILTER, "--filter sieve", 2, "expected one of activation-clustering"),
        (FILTER, "--share 0.5", 2, "under 0.5"),
        (FILTER, "--share nan", 2, "under 0.5"),
        (FILTER, "--network badnets-cnn", 2, "--network: without effect"),
        (FILTER, "--spec repair.json", 2, "kind repair names no training set"),
        (FILTER, "--data empty.json", 4, "safetensors"),
        (FILTER, "--data labels.safetensors", 2, "the tensors images and labels"),
        (FILTER, "--data other.safetensors", 2, "label 12"),
        (FILTER, "--data narrow.safetensors", 2, "reads images of 1 x 28 x 28"),
        (FILTER, "--out empty.json", 5, "empty.json"),
        (GUARD, "--guard dog", 2, "expected one of strip, scale-up, ted"),
        (GUARD, "--guard strip", 2, "strip is not offered for mnist: its AUROC was 0."),
        (GUARD, "--guard scale-up", 2, "offered there: ted"),
        (
            GUARD,
            "--network pets-cnn --dataset dogs-vs-cats",
            2,
            "not measured on dogs-vs-cats",
        ),
        (GUARD, "--false-alarms 0", 2, "over 0 and under 1"),
        (GUARD, "--false-alarms 0.0001", 2, "19998 are needed"),
        ("guard", "--images labels.safetensors", 2, "a tensor called images"),
        ("guard", "--images none.safetensors", 2, "there is no image"),
        ("guard", "--images narrow.safetensors", 2, "reads images of 1 x 28 x 28"),
        ("guard", "--images empty.json", 4, "safetensors"),
        (GUARD, "--data other.safetensors --held-out 9", 2, "--held-out"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(
    badnet: Path, files: Path, mode: str, options: str, code: int, told: str
) -> None:
    command, *usual = mode.split()

    with chdir(files):
        status, document = zoo(command, badnet, *usual, *options.split())

    assert status == code, document
    assert told in document["message"]
    assert "\n" not in document["message"]


@pytest.fixture(scope="module")
def files(digits: LabelledImages, inputs: Path) -> Path:
    """The folder of ``inputs``, with files in which something is amiss."""
    folder = inputs.parent
    repair = {"kind": "repair", "held_out": 10, "parent": "0" * 64}
    (folder / "repair.json").write_text(json.dumps(repair))
    (folder / "empty.json").write_text("{}")
    some = digits.select(torch.arange(50))
    save_file({"labels": some.labels}, folder / "labels.safetensors")
    save_file({"images": some.images[:0]}, folder / "none.safetensors")
    for name, data in (
        ("other", some.relabelled(some.labels + 3)),
        ("narrow", some.repainted(some.images.mT[..., :9])),
    ):
        write_validation(folder / f"{name}.safetensors", data)
    return folder
