"""STRIP: a trigger decides whatever is laid over it; an image does not.

Source:
    Gao, Xu, Wang, Chen, Ranasinghe, Nepal, "STRIP: A Defence Against Trojan Attacks on
    Deep Neural Networks", arXiv:1902.06531, algorithm 1.
"""

import torch
from torch import Tensor

from trainer.data.images import LabelledImages
from trainer.defenses.guards.watch import Scores
from trainer.networks import SplitNetwork
from trainer.networks.inference import as_floats

OVERLAYS = 20
"""Clean images laid over each input; the same for all, so that no score depends on what
else is looked at."""


def strip(
    network: SplitNetwork, clean: LabelledImages, generator: torch.Generator
) -> Scores:
    """Return minus the mean entropy of the answers to an input under other images.

    Images are laid over it by adding pixels, cut off at white.
    """
    some = torch.randperm(len(clean), generator=generator)[:OVERLAYS]
    device = next(network.parameters()).device
    overlays = as_floats(clean.images[some].to(device))

    def scores(images: Tensor) -> Tensor:
        entropies = torch.stack(
            [_entropy(network((images + it).clamp(max=1))) for it in overlays]
        )
        return -entropies.mean(0)

    return scores


def _entropy(logits: Tensor) -> Tensor:
    """Return (N,) float64 of (N, classes), in nats."""
    logs = logits.double().log_softmax(1)
    return -(logs.exp() * logs).sum(1)
