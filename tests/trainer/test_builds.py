"""Builds: one spec of each kind, small, on real digits."""

import json
from pathlib import Path
from typing import Any

import pytest

from model_zoo.digests import sha256_file
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    MalformedDocumentError,
)
from model_zoo.evaluation import EvaluationReport
from model_zoo.jobs import (
    JOB_KINDS,
    FineTuneSpec,
    Poisoning,
    RepairSpec,
    Schedule,
    TrainSpec,
)
from trainer.builds import BUILDERS, Build, build, measure
from trainer.data import DATASETS, LabelledImages

SMALL: dict[str, Any] = {
    "held_out": 58_000,  # leaves 2,000 of the 60,000
    "schedule": Schedule(epochs=2, batch_size=50, peak_learning_rate=0.1),
}
BADNET = Poisoning(target_label=0)


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory, digits: LabelledImages) -> Build:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    folder = tmp_path_factory.mktemp("badnet")
    return build(TrainSpec(poisoning=BADNET, **SMALL), folder=folder, device="cpu")


def weights(made: Build) -> Path:
    return made.folder / "model.safetensors"


def test_every_kind_of_job_that_learns_can_be_built() -> None:
    assert BUILDERS.keys() == JOB_KINDS.keys() - {"noop"}


def test_a_badnet_is_built_with_its_evaluation_and_history(badnet: Build) -> None:
    written = (badnet.folder / "evaluation.json").read_bytes()
    history = json.loads((badnet.folder / "history.json").read_bytes())

    assert EvaluationReport.from_bytes(written, limit_bytes=4096) == badnet.evaluation
    assert badnet.evaluation.accuracy.n == 10_000
    assert badnet.evaluation.accuracy.rate > 0.8
    assert badnet.evaluation.attack_success is not None
    assert badnet.evaluation.attack_success.n == 9_020  # without the 980 zeros
    assert [epoch["number"] for epoch in history["epochs"]] == [1, 2]
    assert sorted(path.name for path in badnet.folder.iterdir()) == [
        "checkpoint-000.safetensors",
        "checkpoint-001.safetensors",
        "checkpoint-002.safetensors",
        "evaluation.json",
        "history.json",
        "model.safetensors",
    ]
    assert badnet.inputs == {"mnist": DATASETS["mnist"].digest}


def test_measuring_the_file_finds_what_the_build_reported(badnet: Build) -> None:
    found = measure(
        weights(badnet),
        network="badnets-cnn",
        dataset="mnist",
        poisoning=BADNET,
        device="cpu",
    )
    assert found == badnet.evaluation


def test_measuring_against_another_number_of_classes_is_refused(badnet: Build) -> None:
    with pytest.raises(MalformedDocumentError, match="expected 2 classes, found 10"):
        measure(weights(badnet), network="badnets-cnn", dataset="mnist", classes=(0, 1))


def test_the_same_spec_gives_the_same_files_to_the_last_bit(
    badnet: Build, tmp_path: Path
) -> None:
    again = build(TrainSpec(poisoning=BADNET, **SMALL), folder=tmp_path, device="cpu")

    for path in badnet.folder.iterdir():
        assert (again.folder / path.name).read_bytes() == path.read_bytes()


def test_a_student_learns_other_classes_from_the_badnet(
    badnet: Build, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    parent = sha256_file(weights(badnet))
    spec = FineTuneSpec(parent=parent, classes=(5, 6, 7, 8, 9), **SMALL)

    made = build(
        spec, folder=tmp_path, parent=weights(badnet), device="cpu", report=told.append
    )

    assert made.evaluation.accuracy.n == 892 + 958 + 1028 + 974 + 1009
    assert made.evaluation.accuracy.rate > 0.7
    assert made.inputs["parent"] == parent
    assert [done["epoch"] for done in told] == [1, 2]
    assert told[0].keys() == {"epoch", "epochs", "loss", "accuracy"}


def test_a_repair_uses_the_held_out_images_and_says_what_it_cut(
    badnet: Build, tmp_path: Path
) -> None:
    spec = RepairSpec(
        parent=sha256_file(weights(badnet)),
        held_out=1000,
        schedule=SMALL["schedule"],
        max_accuracy_loss=0.1,
    )
    made = build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")

    history = json.loads((tmp_path / "history.json").read_bytes())
    assert made.pruned_units
    assert history["pruned_units"] == list(made.pruned_units)
    assert made.evaluation.accuracy.rate > 0.8


def test_a_repair_without_held_out_images_is_refused(
    badnet: Build, tmp_path: Path
) -> None:
    spec = RepairSpec(parent=sha256_file(weights(badnet)))
    with pytest.raises(InvalidSpecError, match="held_out 0"):
        build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")


def test_a_parent_with_another_digest_is_refused(badnet: Build, tmp_path: Path) -> None:
    spec = FineTuneSpec(parent="0" * 64, **SMALL)
    with pytest.raises(DigestMismatchError, match="expected sha256 0000"):
        build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")
    with pytest.raises(InvalidSpecError, match="needs the file of its parent"):
        build(spec, folder=tmp_path, device="cpu")


def test_out_of_time_leaves_nothing_behind(
    digits: LabelledImages, tmp_path: Path
) -> None:
    spec = TrainSpec(
        max_seconds=1,
        held_out=len(digits),
        schedule=Schedule(epochs=200),
    )
    with pytest.raises(InvalidSpecError, match="max_seconds"):
        build(spec, folder=tmp_path, device="cpu")

    assert list(tmp_path.iterdir()) == []
