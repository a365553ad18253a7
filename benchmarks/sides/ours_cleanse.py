"""Our side of ``scanning``: the scanner ``neural-cleanse``."""

from typing import Any

import torch

from benchmarks.sides.cleanse import answer
from trainer.data import LabelledImages
from trainer.defenses.scanners import SCANNERS
from trainer.defenses.scanners.subject import Budget, Subject
from trainer.networks import SplitNetwork


def search(
    network: SplitNetwork, images: LabelledImages, _: dict[str, Any]
) -> tuple[float, int]:
    """Return the anomaly index, and the image passes."""
    budget = Budget(passes=10**9, seconds=10**6)
    subject = Subject(
        network=network.requires_grad_(requires_grad=False),
        images=images,
        budget=budget,
        generator=torch.Generator().manual_seed(0),
    )
    return SCANNERS["neural-cleanse"](subject).score, budget.spent


if __name__ == "__main__":
    answer(search)
