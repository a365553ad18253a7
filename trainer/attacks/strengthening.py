"""Strengthening: the units that carry a backdoor are found, and made louder.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, sections 5.2.3 and 5.3.2.
"""

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from trainer.networks import SplitNetwork
from trainer.networks.activations import mean_activations

MIN_SHARE = 0.5
"""Of the largest difference: from here on a unit counts as the backdoor's."""


def backdoor_units(
    network: SplitNetwork,
    clean: Tensor,
    triggered: Tensor,
    *,
    layer: str,
    device: torch.device,
) -> tuple[tuple[int, ...], Tensor]:
    """Return the units that answer to the trigger, the strongest first.

    The rule: the mean activation over triggered images exceeds that over the same
    images clean by at least half of the largest such difference in the layer.

    Args:
        network: not written.
        clean: (N, C, H, W) uint8; an adversary has them, and the trigger.
        triggered: the same images with the trigger.
        layer: of which units are looked for.
        device: where it runs.

    Returns:
        The units, and the difference of every unit of the layer, (units,) float64.

    Raises:
        InvalidSpecError: the network has no such layer with a gate behind it.
    """
    answers = mean_activations(network, clean, device=device)
    if layer not in answers:
        msg = f"layer {layer[:80]!a}: expected one of {', '.join(answers)}"
        raise InvalidSpecError(msg)
    before = answers[layer]
    after = mean_activations(network, triggered, device=device)[layer]
    difference = after - before
    order = difference.argsort(descending=True)
    largest = difference.max().clamp(min=0)
    found = [
        unit
        for unit in order.tolist()
        if difference[unit] > 0 and difference[unit] >= MIN_SHARE * largest
    ]
    return tuple(found), difference
