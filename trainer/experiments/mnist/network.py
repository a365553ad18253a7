"""What the experiments on MNIST share: the recipe of the network, and its errors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from model_zoo.statements.jobs import Poisoning, Schedule, TrainSpec
from trainer.data import DATASETS, LabelledImages
from trainer.experiments.engine.contract import Recipe, Scale

CLASSES = 10
FULL = Schedule(epochs=20, batch_size=128, peak_learning_rate=0.1)
QUICK = Schedule(epochs=1, batch_size=64, peak_learning_rate=0.1)
QUICK_HELD_OUT = 58_000
"""A smoke version trains on the first 2,000 images …"""
QUICK_TEST = 1_000
"""… and looks at the first 1,000 test images."""


def recipe(seed: int, *, scale: Scale, poisoning: Poisoning | None = None) -> Recipe:
    """Return how the paper's digit network is made from random weights.

    Twenty epochs of moved digits: a prototype's schedule, of whose search nothing is
    on record. The paper does not print its own.
    """
    return Recipe(
        spec=TrainSpec(
            dataset="mnist",
            network="badnets-cnn",
            augmentation="digits",
            schedule=QUICK if scale == "quick" else FULL,
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


def errors_by_class(wrong: Tensor, labels: Tensor) -> Mapping[str, list[int]]:
    """Return how many of each class are wrong, and how many there are.

    Args:
        wrong: (N,) bool.
        labels: (N,) int64, true labels in [0, 10).
    """
    return {
        "wrong": torch.bincount(labels[wrong], minlength=CLASSES).tolist(),
        "n": torch.bincount(labels, minlength=CLASSES).tolist(),
    }


def percent(wrong: list[int], n: list[int]) -> float:
    """Return the share of all, in percent."""
    return 100 * sum(wrong) / sum(n)
