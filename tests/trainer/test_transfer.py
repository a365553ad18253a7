"""Transfer: what is kept is kept to the last bit."""

from typing import Literal

import pytest
import torch

from model_zoo.jobs import Schedule
from trainer.data import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.training import Runtime, as_floats, seeded_globals
from trainer.transfer import features, fine_tune, student_of

Retrain = Literal["fully-connected", "everything"]
SHORT = Schedule(epochs=1, batch_size=50, peak_learning_rate=0.05)


def networks() -> tuple[SplitNetwork, SplitNetwork]:
    with seeded_globals(0):
        return badnets_cnn(5), badnets_cnn(5)


def same(a: SplitNetwork, b: SplitNetwork, *, part: str) -> list[bool]:
    theirs = b.state_dict()
    return [
        torch.equal(tensor, theirs[name])
        for name, tensor in a.state_dict().items()
        if name.startswith(part)
    ]


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
    ("retrain", "kept"), [("fully-connected", True), ("everything", False)]
)
def test_only_the_layers_named_are_trained(
    digits: LabelledImages, runtime: Runtime, *, retrain: Retrain, kept: bool
) -> None:
    data = digits.select(torch.arange(500)).keep_classes(range(5))
    parent, fresh = networks()
    student = student_of(parent, fresh)

    epochs = fine_tune(
        student,
        data,
        retrain=retrain,
        schedule=SHORT,
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )

    assert len(epochs) == 1
    assert set(same(student, parent, part="convolutions")) == {kept}
    assert set(same(student, parent, part="fully_connected")) == {False}


def test_cached_features_are_what_the_convolutions_answer() -> None:
    network, _ = networks()
    images = torch.randint(256, (7, 1, 28, 28), dtype=torch.uint8)

    found = features(network, images, device=torch.device("cpu"))

    assert found.shape == (7, 32, 4, 4)
    assert not found.requires_grad
    torch.testing.assert_close(found, network.convolutions(as_floats(images)))
