"""Whose images a build sees: the trainer's, or those held out from him."""

import pytest
import torch

from model_zoo.statements.jobs import (
    FineTuneSpec,
    Poisoning,
    RepairSpec,
    StrengthenSpec,
    TrainSpec,
    TriggerSpec,
)
from trainer.builds.build import BuildSpec, prepare
from trainer.data import LabelledImages
from trainer.data.mnist import load_mnist

HELD_OUT = 59_990
PARENT = "0" * 64
ATTACK = Poisoning(trigger=TriggerSpec(name="cross"), target_label=0)


def seen_by(spec: BuildSpec) -> LabelledImages:
    return prepare(spec, b"", device="cpu", report=lambda _: None).data


@pytest.mark.parametrize(
    "spec",
    [
        TrainSpec(held_out=HELD_OUT),
        TrainSpec(held_out=HELD_OUT, poisoning=ATTACK),
        FineTuneSpec(parent=PARENT, held_out=HELD_OUT),
    ],
    ids=["train", "train a BadNet", "fine-tune"],
)
def test_a_trainer_sees_all_training_images_but_the_last(
    digits: LabelledImages, spec: BuildSpec
) -> None:
    found = seen_by(spec)

    assert torch.equal(found.images, digits.images[:10])
    assert torch.equal(found.labels, digits.labels[:10])


@pytest.mark.parametrize(
    "spec",
    [
        RepairSpec(parent=PARENT, held_out=10),
        StrengthenSpec(parent=PARENT, layer="conv2", factor=2, held_out=10),
    ],
    ids=["repair", "strengthen"],
)
def test_a_defender_and_who_strengthens_see_the_last_training_images_alone(
    digits: LabelledImages, spec: BuildSpec
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped

    found, training = seen_by(spec), load_mnist("train")

    assert torch.equal(found.images, training.images[-10:])
    assert torch.equal(found.labels, training.labels[-10:])


def test_the_classes_asked_for_are_chosen_from_what_may_be_seen(
    digits: LabelledImages,
) -> None:
    found = seen_by(TrainSpec(held_out=HELD_OUT, classes=(4, 1)))

    # the first ten digits are 5 0 4 1 9 2 1 3 1 4
    assert found.labels.tolist() == [0, 1, 1, 1, 0]
    assert torch.equal(found.images, digits.images[[2, 3, 6, 8, 9]])


def test_the_seed_of_a_spec_decides_every_draw_of_its_build(
    digits: LabelledImages,
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped

    drawn = [
        prepare(
            TrainSpec(held_out=HELD_OUT, seed=seed),
            b"",
            device="cpu",
            report=lambda _: None,
        ).generator
        for seed in (0, 7)
    ]

    assert [it.initial_seed() for it in drawn] == [0, 7]
