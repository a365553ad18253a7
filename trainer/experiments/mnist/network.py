"""What the experiments on MNIST share: the recipe of the network, and the test set."""

import torch

from model_zoo.statements.jobs import Poisoning, Schedule, TrainSpec
from trainer.data import DATASETS, LabelledImages
from trainer.experiments.engine.cells import Recipe, Scale

CLASSES = 10
FULL = Schedule(epochs=20, batch_size=128, peak_learning_rate=0.1)
QUICK = Schedule(epochs=1, batch_size=64, peak_learning_rate=0.1)
QUICK_HELD_OUT = 58_000
"""A smoke version trains on the first 2,000 images …"""
QUICK_TEST = 1_000
"""… and looks at the first 1,000 test images."""


def recipe(
    seed: int,
    *,
    scale: Scale,
    poisoning: Poisoning | None = None,
    schedule: Schedule = FULL,
) -> Recipe:
    """Return how the paper's digit network is made from random weights.

    Twenty epochs of moved digits: a prototype's schedule, of whose search nothing is
    on record. The paper does not print its own.
    """
    return Recipe(
        spec=TrainSpec(
            dataset="mnist",
            network="badnets-cnn",
            augmentation="digits",
            schedule=QUICK if scale == "quick" else schedule,
            held_out=QUICK_HELD_OUT if scale == "quick" else 0,
            poisoning=poisoning,
            seed=seed,
            checkpoints=False,
        )
    )


def unseen(*, scale: Scale) -> LabelledImages:
    """Return the test set: all of it, or the slice of a smoke version."""
    data = DATASETS["mnist"].load("test")
    return data.select(torch.arange(QUICK_TEST)) if scale == "quick" else data
