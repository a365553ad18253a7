"""SCALE-UP: a triggered image keeps its label when its pixels are multiplied.

Source:
    Guo, Li, Chen, Guo, Sun, Liu, "SCALE-UP: An Efficient Black-box Input-level Backdoor
    Detection via Analyzing Scaled Prediction Consistency", arXiv:2302.03251, section 4,
    without data.
"""

import torch
from torch import Tensor

from trainer.data.images import LabelledImages
from trainer.defenses.guards.watch import Scores
from trainer.networks import SplitNetwork

FACTORS = (3, 5, 7, 9, 11)


def scale_up(
    network: SplitNetwork, _clean: LabelledImages, _generator: torch.Generator
) -> Scores:
    """Return the share of FACTORS that leave an input's label as it is."""

    def scores(images: Tensor) -> Tensor:
        label = network(images).argmax(1)
        kept = [
            network((images * it).clamp(max=1)).argmax(1) == label for it in FACTORS
        ]
        return torch.stack(kept).double().mean(0)

    return scores
