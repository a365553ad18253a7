"""CLP: prune the channels that can raise their answer most, without any data.

A channel's bound is the largest singular value of its kernel, seen as a matrix of
input channels by places, times what its batch norm scales it by. Of each convolution
those go that lie far above the others. A batch norm's channel is pruned with it.

Source:
    Zheng, Tang, Li, Liu, "Data-free Backdoor Removal based on Channel Lipschitzness",
    ECCV 2022, sections 3.2 and 3.4, algorithm 1.
"""

import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.repaired import Repaired
from trainer.networks import SplitNetwork
from trainer.networks.activations import layers, scale_of, silence
from trainer.training.fit import Runtime

DEVIATIONS = 3.0
"""Above the mean of its layer, where a channel is pruned; the paper's on CIFAR-10."""


def prune_steep(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    """Repair ``network`` in place, from its weights alone.

    Raises:
        InvalidSpecError: it has no convolution.
    """
    del clean, spec, generator, runtime
    found = [it for it in layers(network).values() if isinstance(it, nn.Conv2d)]
    if not found:
        msg = "clp prunes channels of convolutions, and the network has none"
        raise InvalidSpecError(msg)
    for layer in found:
        scale = scale_of(network, layer)
        silence(scale, outlying(bounds(layer, scale)))
    return Repaired(network=network)


def bounds(layer: nn.Conv2d, scale: nn.Module) -> Tensor:
    """Return (channels,) upper bounds of how far each answers a change of its input.

    Args:
        layer: whose channels.
        scale: what scales them last; the layer itself where no batch norm does.
    """
    kernels = layer.weight.detach().flatten(2)
    steepest: Tensor = torch.linalg.matrix_norm(kernels, ord=2)
    if isinstance(scale, nn.BatchNorm2d) and scale.running_var is not None:
        deviation = (scale.running_var + scale.eps).sqrt()
        steepest = steepest * scale.weight.detach().abs() / deviation
    return steepest


def outlying(bounds: Tensor) -> Tensor:
    """Return which ((channels,) bool) lie DEVIATIONS above the mean of all."""
    return bounds > bounds.mean() + DEVIATIONS * bounds.std(correction=0)
