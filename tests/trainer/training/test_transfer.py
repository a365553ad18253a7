"""Transfer: what is kept is kept to the last bit."""

from dataclasses import replace
from typing import Literal

import pytest
import torch

from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.statements.jobs import FineTuneSpec, Schedule, parse_spec
from trainer.data import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.checkpoints import to_bytes
from trainer.networks.efficientnet_lite0 import efficientnet_lite0
from trainer.networks.inference import as_floats
from trainer.training.fit import Runtime, fit, seeded_globals
from trainer.training.setup import Lesson, Task, begin
from trainer.training.transfer import features, student_of

Retrain = Literal["fully-connected", "everything", "continued"]
RETRAINS: tuple[Retrain, ...] = ("fully-connected", "everything", "continued")
SHORT = Schedule(epochs=1, batch_size=50, peak_learning_rate=0.05)
CLASSES = 5


def networks() -> tuple[SplitNetwork, SplitNetwork]:
    with seeded_globals(0):
        return badnets_cnn(CLASSES), badnets_cnn(CLASSES)


def same(a: SplitNetwork, b: SplitNetwork, *, part: str) -> list[bool]:
    theirs = b.state_dict()
    return [
        torch.equal(tensor, theirs[name])
        for name, tensor in a.state_dict().items()
        if name.startswith(part)
    ]


def noise(n: int) -> LabelledImages:
    images = torch.randint(256, (n, 1, 28, 28), dtype=torch.uint8)
    return LabelledImages(images=images, labels=torch.arange(n) % CLASSES)


def task_of(parent: SplitNetwork, runtime: Runtime, *, classes: int = CLASSES) -> Task:
    return Task(
        data=noise(200),
        classes=classes,
        parent=to_bytes(parent),
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )


def spec_of(parent: SplitNetwork, retrain: Retrain) -> FineTuneSpec:
    digest = sha256_bytes(to_bytes(parent))
    return FineTuneSpec(parent=digest, retrain=retrain, schedule=SHORT, seed=1)


def begun(
    parent: SplitNetwork, retrain: Retrain, runtime: Runtime, *, classes: int = CLASSES
) -> Lesson:
    task = task_of(parent, runtime, classes=classes)
    return begin(spec_of(parent, retrain), task)


def test_a_student_starts_from_the_parents_convolutions_and_fresh_layers() -> None:
    parent, fresh = networks()
    student = student_of(parent, fresh)

    assert all(same(student, parent, part="convolutions"))
    assert not any(same(student, parent, part="fully_connected"))


def test_a_student_may_know_another_number_of_classes() -> None:
    parent, _ = networks()
    student = student_of(parent, badnets_cnn(3))

    assert all(same(student, parent, part="convolutions"))
    assert student.classes == 3


@pytest.mark.parametrize(
    ("retrain", "kept"),
    [("fully-connected", False), ("everything", False), ("continued", True)],
)
def test_a_lesson_starts_from_the_layers_that_its_spec_keeps(
    runtime: Runtime, *, retrain: Retrain, kept: bool
) -> None:
    parent, _ = networks()

    student = begun(parent, retrain, runtime).network

    assert all(same(student, parent, part="convolutions"))
    assert set(same(student, parent, part="fully_connected")) == {kept}


@pytest.mark.parametrize(
    ("retrain", "kept"),
    [("fully-connected", True), ("everything", False), ("continued", False)],
)
def test_only_the_layers_named_are_trained(
    runtime: Runtime, *, retrain: Retrain, kept: bool
) -> None:
    parent, _ = networks()
    lesson = begun(parent, retrain, runtime)

    epochs = fit(
        lesson.learner,
        lesson.inputs,
        lesson.labels,
        schedule=SHORT,
        generator=torch.Generator().manual_seed(0),
        runtime=lesson.runtime(runtime),
    )

    assert len(epochs) == 1
    assert set(same(lesson.network, parent, part="convolutions")) == {kept}
    assert set(same(lesson.network, parent, part="fully_connected")) == {False}


def test_a_students_norms_stay_as_its_parent_measured_them(runtime: Runtime) -> None:
    with seeded_globals(0):
        parent = efficientnet_lite0(CLASSES)
    images = torch.randint(256, (4, 3, 128, 128), dtype=torch.uint8)
    pets = LabelledImages(images=images, labels=torch.arange(4) % CLASSES)
    spec = FineTuneSpec(
        parent=sha256_bytes(to_bytes(parent)),
        retrain="everything",
        network="efficientnet-lite0",
        schedule=Schedule(epochs=2, batch_size=2, peak_learning_rate=0.05),
        seed=1,
    )
    lesson = begin(spec, replace(task_of(parent, runtime), data=pets))

    for network in (lesson.learner, fresh := efficientnet_lite0(CLASSES)):
        fit(
            network,
            lesson.inputs,
            lesson.labels,
            schedule=spec.schedule,
            generator=torch.Generator().manual_seed(0),
            runtime=runtime,
        )

    before, after = parent.state_dict(), lesson.network.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if ".norm." in name}
    measured = fresh.state_dict()
    assert not any(
        torch.equal(before[name], measured[name])
        for name in before
        if name.endswith("running_mean")
    )


def test_only_a_network_of_as_many_classes_can_be_continued(runtime: Runtime) -> None:
    parent, _ = networks()

    for retrain in ("fully-connected", "everything"):
        assert begun(parent, retrain, runtime, classes=7).network.classes == 7
    with pytest.raises(MalformedDocumentError, match="expected 7 classes, found 5"):
        begun(parent, "continued", runtime, classes=7)


def test_frozen_convolutions_and_augmentation_exclude_each_other(
    runtime: Runtime,
) -> None:
    parent, _ = networks()
    for retrain in RETRAINS:
        wanted = spec_of(parent, retrain).to_object() | {"augmentation": "digits"}
        if retrain == "fully-connected":
            with pytest.raises(InvalidSpecError, match="answers of frozen ones"):
                parse_spec("fine-tune", wanted)
            continue
        spec = FineTuneSpec.from_object(wanted)
        assert begin(spec, task_of(parent, runtime)).augment is not None


def test_a_lesson_without_augmentation_runs_as_it_was_told(runtime: Runtime) -> None:
    parent, _ = networks()
    lesson = begun(parent, "everything", runtime)

    assert lesson.runtime(runtime) == runtime
    shown = replace(lesson, augment=lambda batch, _, __: batch)
    assert shown.runtime(runtime).augment is shown.augment


def test_cached_features_are_what_the_convolutions_answer() -> None:
    network, _ = networks()
    images = torch.randint(256, (7, 1, 28, 28), dtype=torch.uint8)

    found = features(network, images, device=torch.device("cpu"))

    assert found.shape == (7, 32, 4, 4)
    assert not found.requires_grad
    torch.testing.assert_close(found, network.convolutions(as_floats(images)))
