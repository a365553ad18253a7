"""Units: what each channel or neuron of a network answers, and some of them changed.

A unit is a channel of a convolution or a neuron of a fully connected layer, after its
ReLU. Layers go by their name in the network, such as ``conv5`` or ``fc1``.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.networks import SplitNetwork
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, batches


def mean_activations(
    network: SplitNetwork, images: Tensor, *, device: torch.device
) -> dict[str, Tensor]:
    """Return the mean activation of every unit of every layer that has a ReLU.

    Args:
        network: moved to ``device``, evaluated.
        images: (N, C, H, W) uint8, N at least 1.
        device: where it runs.

    Returns:
        Layer -> (units,) float64 on the CPU: the mean over images and, in a
        convolution, over places.
    """
    network.to(device).to(memory_format=torch.channels_last).eval()
    totals: dict[str, Tensor] = {}
    with torch.inference_mode(), reproducible(device):
        for batch in batches(images):
            for layer, answers in _activations(network, as_floats(batch.to(device))):
                summed = answers.mean(2).sum(0).double().cpu()
                totals[layer] = totals.get(layer, 0) + summed
    return {layer: total / len(images) for layer, total in totals.items()}


def ablated(network: SplitNetwork, layer: str, units: Sequence[int]) -> SplitNetwork:
    """Return a copy of ``network`` in which ``units`` of ``layer`` always answer 0."""
    return amplified(network, layer, units, factor=0)


def amplified(
    network: SplitNetwork, layer: str, units: Sequence[int], *, factor: float
) -> SplitNetwork:
    """Return a copy of ``network`` with the inputs of some units times ``factor``.

    Weights and bias, so that behind a ReLU the unit's answer is ``factor`` times what
    it was.

    Args:
        network: not written.
        layer: of which the units are.
        units: their numbers.
        factor: not negative.

    Source:
        Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.3.2.
    """
    changed = copy.deepcopy(network)
    module = layers(changed)[layer]
    with torch.no_grad():
        module.weight[list(units)] *= factor
        if module.bias is not None:
            module.bias[list(units)] *= factor
    return changed


def units_for(share: float, differences: Tensor) -> int:
    """Return how few units carry ``share`` of all differences ((units,), any sign).

    Few of many means a sparse code.
    """
    sizes = differences.abs().sort(descending=True).values
    if not sizes.sum():
        return 0
    carried = sizes.cumsum(0) / sizes.sum()
    return int((carried < share).sum()) + 1


def layers(network: SplitNetwork) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return name -> layer, of all that have weights, from input to output."""
    return {
        name: module
        for half in (network.convolutions, network.fully_connected)
        for name, module in half.named_children()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def _activations(network: SplitNetwork, inputs: Tensor) -> list[tuple[str, Tensor]]:
    """Return (N, units, places) of every layer with a ReLU directly behind it."""
    found, layer = [], ""
    for half in (network.convolutions, network.fully_connected):
        for name, module in half.named_children():
            inputs = module(inputs)
            if isinstance(module, nn.Conv2d | nn.Linear):
                layer = name
            elif isinstance(module, nn.ReLU) and layer:
                # a later ReLU in place would write over it
                found.append((layer, inputs.reshape(*inputs.shape[:2], -1).clone()))
                layer = ""
    return found
