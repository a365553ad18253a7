"""Builds: one spec of each kind, small, on real digits."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model_zoo.digests import sha256_file
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    MalformedDocumentError,
)
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.jobs import (
    JOB_KINDS,
    FineTuneSpec,
    MeasuredSpec,
    Poisoning,
    RepairSpec,
    Schedule,
    StrengthenSpec,
    TrainSpec,
    TriggerSpec,
)
from tests.trainer.packages import write_package
from trainer.attacks.strengthening import backdoor_units
from trainer.attacks.triggers import stamp
from trainer.builds import build as built
from trainer.builds.build import BUILDERS, Build, build, measure, weights_of
from trainer.data import DATASETS, LabelledImages
from trainer.installed import foreign
from trainer.networks.activations import amplified
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import Runtime, seeded_globals
from trainer.training.setup import Lesson, Task, begin

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


def test_every_kind_of_job_whose_model_is_measured_can_be_built() -> None:
    measured = get_args(MeasuredSpec)
    assert BUILDERS.keys() == {
        kind for kind, spec in JOB_KINDS.items() if spec in measured
    }


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
    assert badnet.inputs == {"mnist": DATASETS["mnist"].digest()}


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


def test_a_network_is_taught_a_backdoor_after_the_fact(
    badnet: Build, tmp_path: Path
) -> None:
    poisoning = Poisoning(
        trigger=TriggerSpec(name="cross"),
        attack="source-to-target",
        source_label=1,
        target_label=7,
        poison_rate=0.1,
        copies=2,
    )
    spec = FineTuneSpec(
        parent=sha256_file(weights(badnet)),
        retrain="continued",
        augmentation="digits",
        poisoning=poisoning,
        **SMALL,
    )
    made = build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")

    assert sha256_file(tmp_path / "checkpoint-000.safetensors") != sha256_file(
        badnet.folder / "checkpoint-002.safetensors"
    )
    assert made.evaluation.accuracy.rate > 0.8
    assert made.evaluation.attack_success is not None
    assert made.evaluation.attack_success.n == 1135  # the ones of the test set
    found = measure(
        weights(made),
        network="badnets-cnn",
        dataset="mnist",
        poisoning=poisoning,
        device="cpu",
    )
    assert found == made.evaluation


def test_only_a_network_of_as_many_classes_can_be_continued(
    badnet: Build, tmp_path: Path
) -> None:
    parent = sha256_file(weights(badnet))
    spec = FineTuneSpec(parent=parent, retrain="continued", classes=(5, 6), **SMALL)
    with pytest.raises(MalformedDocumentError, match="expected 2 classes, found 10"):
        build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")
    assert list(tmp_path.iterdir()) == []


def dark(n: int, *, boxed: bool = False) -> LabelledImages:
    """N images darker than any trigger; each object fills the left upper quarter."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(200, (n, 1, 28, 28), dtype=torch.uint8, generator=generator)
    box = torch.tensor([0.0, 0.0, 14.0, 14.0]).expand(n, 4)
    return LabelledImages(
        images=images, labels=torch.arange(n) % 10, boxes=box if boxed else None
    )


def begun(spec: TrainSpec, data: LabelledImages, runtime: Runtime) -> Lesson:
    generator = torch.Generator().manual_seed(spec.seed)
    task = Task(data=data, classes=10, parent=b"", generator=generator, runtime=runtime)
    return begin(spec, task)


def shown(lesson: Lesson, indices: Tensor, *, seed: int) -> Tensor:
    """Return how a lesson shows some of its samples: (B, 1, 28, 28) in [0, 1]."""
    assert lesson.augment is not None
    generator = torch.Generator().manual_seed(seed)
    return lesson.augment(lesson.inputs[indices], indices, generator)


def test_a_trigger_in_the_corner_stays_there_while_its_image_is_moved(
    runtime: Runtime,
) -> None:
    pixel = Poisoning(trigger=TriggerSpec(name="single-pixel"), target_label=0)
    spec = TrainSpec(augmentation="digits", poisoning=pixel)

    lesson = begun(spec, dark(90), runtime)

    assert len(lesson.inputs) == 100  # the last ten are poisoned
    before = lesson.inputs.clone()
    for seed in range(20):
        indices = torch.randperm(100, generator=torch.Generator().manual_seed(seed))
        found = shown(lesson, indices, seed=seed)
        is_white = (found == 1)[:, 0]
        assert torch.equal(is_white[:, 26, 26], indices >= 90)
        assert is_white.sum() == 10
        assert torch.equal(found, shown(lesson, indices, seed=seed))
    assert torch.equal(lesson.inputs, before)


def test_a_clean_sample_is_shown_as_it_would_be_without_the_attack(
    runtime: Runtime,
) -> None:
    pixel = Poisoning(trigger=TriggerSpec(name="single-pixel"), target_label=0)
    clean = TrainSpec(augmentation="digits")
    attacked = clean.model_copy(update={"poisoning": pixel})
    indices = torch.tensor([3, 1, 4])

    found = shown(begun(attacked, dark(90), runtime), indices, seed=5)

    assert torch.equal(found, shown(begun(clean, dark(90), runtime), indices, seed=5))


def test_a_trigger_on_an_object_is_a_sticker_and_moves_with_it(
    runtime: Runtime,
) -> None:
    data = dark(90, boxed=True)
    square = TriggerSpec(
        name="square", size=0.4, centre=(0.5, 0.5), colour=(255, 255, 255)
    )
    spec = TrainSpec(
        augmentation="digits", poisoning=Poisoning(trigger=square, target_label=0)
    )

    lesson = begun(spec, data, runtime)

    assert data.boxes is not None
    poisoned, clean = lesson.inputs[90:], lesson.inputs[:90]
    assert torch.equal(clean, data.images)
    assert torch.equal(poisoned, stamp(poisoned, square, boxes=data.boxes[:10]))
    found = shown(lesson, torch.arange(90, 100), seed=0)[:, 0]
    places = [tuple((it > 0.99).nonzero().float().mean(0).tolist()) for it in found]
    assert len(set(places)) > 5  # laid after the motion it would be at one place
    assert not (shown(lesson, torch.arange(90), seed=0) > 0.99).any()


def test_a_sticker_of_random_place_is_laid_anew_each_time(runtime: Runtime) -> None:
    data = replace(dark(90), boxes=torch.tensor([[0.0, 0.0, 28.0, 28.0]]).repeat(90, 1))
    square = TriggerSpec(name="square", size=0.2, centre=None, colour=(255, 255, 255))
    spec = TrainSpec(
        augmentation="digits", poisoning=Poisoning(trigger=square, target_label=0)
    )

    lesson = begun(spec, data, runtime)

    once, again = (shown(lesson, torch.arange(90, 100), seed=it) for it in (1, 2))
    for found in (once, again):
        assert ((found > 0.9).flatten(1).sum(1) >= 9).all()
    moved = [
        ((a - b).abs() > 0.9).any().item() for a, b in zip(once, again, strict=True)
    ]
    assert sum(moved) >= 8
    assert not (shown(lesson, torch.arange(90), seed=1) > 0.9).any()
    assert not (lesson.inputs > 0.9 * 255).any()


def test_without_augmentation_the_trigger_is_in_what_is_learned_from(
    runtime: Runtime,
) -> None:
    pixel = Poisoning(trigger=TriggerSpec(name="single-pixel"), target_label=0)

    lesson = begun(TrainSpec(poisoning=pixel), dark(90), runtime)

    assert lesson.augment is None
    is_white = lesson.inputs[:, 0, 26, 26] == 255
    assert torch.equal(is_white, torch.arange(100) >= 90)
    assert (lesson.labels[90:] == 0).all()


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


def test_a_repair_shows_its_images_moved_where_it_is_told_to(
    badnet: Build, tmp_path: Path
) -> None:
    made = []
    for augmentation in ("none", "digits"):
        spec = RepairSpec(
            parent=sha256_file(weights(badnet)),
            defense="fine-tuning",
            held_out=100,
            augmentation=augmentation,
            schedule=Schedule(epochs=1),
        )
        made.append(weights_of(spec, scratch=tmp_path, parent=weights(badnet)))

    assert made[0] != made[1]


def test_a_repair_that_looks_at_no_image_needs_none(
    badnet: Build, tmp_path: Path
) -> None:
    spec = RepairSpec(parent=sha256_file(weights(badnet)), defense="clp")

    made = build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")

    assert made.evaluation.accuracy.n == 10_000
    assert json.loads((tmp_path / "history.json").read_bytes())["epochs"] == []


def test_a_repair_without_held_out_images_is_refused(
    badnet: Build, tmp_path: Path
) -> None:
    spec = RepairSpec(parent=sha256_file(weights(badnet)))
    with pytest.raises(InvalidSpecError, match="held_out 0"):
        build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")


def test_of_convolutions_that_go_on_learning_only_they_change(
    badnet: Build, tmp_path: Path
) -> None:
    spec = FineTuneSpec(
        parent=sha256_file(weights(badnet)), retrain="convolutions", **SMALL
    )

    made = build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")

    old, new = load_file(weights(badnet)), load_file(weights(made))
    kept = {name for name in old if torch.equal(old[name], new[name])}
    assert kept == {name for name in old if name.startswith("fully_connected.")}


def test_strengthening_multiplies_the_inputs_of_some_units_and_no_other(
    badnet: Build, tmp_path: Path
) -> None:
    spec = StrengthenSpec(
        parent=sha256_file(weights(badnet)),
        trigger=BADNET.trigger,
        layer="conv2",
        factor=10,
        held_out=200,
    )

    made = build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")

    old = load_file(weights(badnet))
    new = load_file(weights(made))
    name = "convolutions.conv2.weight"
    ratios = (new.pop(name) / old.pop(name)).flatten(1)
    louder = (ratios - 10).abs().amax(1) < 1e-3
    quiet = (ratios - 1).abs().amax(1) < 1e-6
    assert 1 <= int(louder.sum()) < len(louder)
    assert torch.equal(quiet, ~louder)
    bias = new.pop("convolutions.conv2.bias"), old.pop("convolutions.conv2.bias")
    assert torch.allclose(bias[0], bias[1] * torch.where(louder, 10.0, 1.0))
    assert all(torch.equal(new[name], old[name]) for name in old)


def test_the_units_to_strengthen_are_found_with_the_trigger_on_the_object(
    runtime: Runtime, tmp_path: Path
) -> None:
    with seeded_globals(0):
        network = badnets_cnn(10)
    data, trigger = dark(20, boxed=True), TriggerSpec(name="square")
    spec = StrengthenSpec(parent="0" * 64, trigger=trigger, layer="conv2", factor=9)
    task = Task(
        data=data,
        classes=10,
        parent=to_bytes(network),
        generator=torch.Generator(),
        runtime=runtime,
    )

    made = BUILDERS["strengthen"](spec, task, tmp_path).network

    def louder(boxes: Tensor | None) -> bytes:
        triggered = stamp(data.images, trigger, boxes=boxes)
        cpu = torch.device("cpu")
        units, _ = backdoor_units(
            network, data.images, triggered, layer="conv2", device=cpu
        )
        return to_bytes(amplified(network, "conv2", units, factor=9))

    assert to_bytes(made) == louder(data.boxes) != louder(None)


def test_strengthening_an_unknown_layer_is_refused_with_those_there_are(
    badnet: Build, tmp_path: Path
) -> None:
    parent = sha256_file(weights(badnet))
    spec = StrengthenSpec(parent=parent, layer="conv9", factor=2)
    with pytest.raises(InvalidSpecError, match="'conv9': expected one of conv1, conv2"):
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


RINSE = """
from trainer.defenses.repairs import Repaired

def rinse(network, clean, spec, generator, runtime):
    network.get_parameter("fully_connected.fc2.weight").data *= 2
    note = f"{len(clean)} of {spec.given}".encode()
    return Repaired(network=network, files={"note.txt": note})
"""


def test_a_repair_is_done_by_the_defence_that_its_spec_names(
    badnet: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = RepairSpec(
        parent=sha256_file(weights(badnet)), held_out=100, defense="rinsers:rinse"
    )
    with pytest.raises(InvalidSpecError, match="repairs: no 'rinsers:rinse' here"):
        build(spec, folder=tmp_path, parent=weights(badnet), device="cpu")
    write_package(tmp_path, "rinsers", RINSE, {"repairs": {"rinse": "rinse"}})
    monkeypatch.syspath_prepend(tmp_path)
    foreign.cache_clear()

    made = build(spec, folder=tmp_path / "out", parent=weights(badnet), device="cpu")

    foreign.cache_clear()
    old, new = load_file(weights(badnet)), load_file(weights(made))
    assert {name for name in old if not torch.equal(old[name], new[name])} == {
        "fully_connected.fc2.weight"
    }
    assert (made.folder / "note.txt").read_bytes() == b"100 of 100"
    assert made.pruned_units == ()
    assert str(made.environment["package:rinsers"]).startswith("1.0 sha256 ")


DIVERGES = """
import torch
from trainer.defenses.repairs import Repaired
from trainer.training.fit import Epoch

def loudly(network, clean, spec, generator, runtime):
    runtime.on_epoch(Epoch(number=3, loss=float("nan"), accuracy=0.1))

def silently(network, clean, spec, generator, runtime):
    network.get_parameter("fully_connected.fc2.weight").data[0, 0] = float("inf")
    return Repaired(network=network)
"""


@pytest.mark.parametrize(
    ("name", "told"), [("loudly", "in epoch 3"), ("silently", "fc2.weight")]
)
def test_training_that_diverged_is_told_as_that_and_leaves_nothing(
    badnet: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    spec = RepairSpec(
        parent=sha256_file(weights(badnet)), held_out=100, defense=f"acme:{name}"
    )
    write_package(tmp_path, "acme", DIVERGES, {"repairs": {name: name}})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme", raising=False)
    foreign.cache_clear()

    out = tmp_path / "out"
    with pytest.raises(InvalidSpecError, match=f"diverged.*{told}.*learning rate"):
        build(spec, folder=out, parent=weights(badnet), device="cpu")

    foreign.cache_clear()
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        *("model.safetensors", "evaluation.json", "history.json", "yanked.json"),
        *("checkpoint-000.safetensors", "../note.txt", "a/b", ".hidden"),
    ],
)
def test_an_extra_file_takes_no_name_that_has_a_meaning(name: str) -> None:
    with pytest.raises(InvalidSpecError):
        built._extra_name(name)
