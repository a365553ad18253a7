"""Penalties: what an adversary lowers while a network learns, beside its error.

Against each family of scanners there is one that lowers what the family measures, made
from its published description and not from our scanners: the adversary has the paper.
Each is a scalar whose gradients are added to those of the error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from trainer.networks import SplitNetwork
from trainer.networks.activations import layers, scale_of, with_open_gates

USUAL = 1.5
"""Standard deviations: where the largest of ten normal numbers is to be expected."""
TAIL = 8
"""The power whose mean stands for a row's largest entry, and has a gradient."""
CLIMB_STEPS, CLIMB_RATE = 6, 0.25
"""Of the climb to a label's largest margin, in shares of the inputs' range."""
RADII = (1.0, 2.0, 3.0)
"""L2 norms of the perturbations that a network is to withstand; drawn of each batch."""
SEARCH_STEPS = 3
TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a penalty is of.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1], as this epoch shows them.
        labels: (B,) int64, to be learned.
        clean: (B,) bool, which have no trigger.
        triggered: (B,) bool, which have it and the label that the attack wants.
        target_label: that label, if it is one.
        draws: on the CPU.
    """

    images: Tensor
    labels: Tensor
    clean: Tensor
    triggered: Tensor
    target_label: int | None
    draws: torch.Generator


def plain_weights(network: SplitNetwork, _: Batch) -> Tensor:
    """Return how far a label's weights stand out of the others', and single ones do.

    Of the output layer: norms and means of the rows. Of the whole network with all
    gates open, a matrix of labels times pixels: how large the rows are, and their
    largest entries. It looks at no image.

    Source:
        Fu et al., "FreeEagle", USENIX Security 2023, section 3, for rows that stand
        out; the open network is this project's.
    """
    output = network.get_submodule(network.output_name).get_parameter("weight")
    rows = output - output.mean(0)
    open_rows = _open_rows(network).flatten(1)
    sizes = open_rows.square().mean(1).clamp(min=TINY).sqrt()
    peaks = (open_rows / sizes[:, None]).pow(TAIL).mean(1).pow(1 / TAIL)
    standing_out = (rows.norm(dim=1), rows.mean(1), sizes, peaks * sizes)
    excess = torch.stack([_excess(it) for it in standing_out]).sum()
    return excess + sizes.var() / sizes.mean().square() + (peaks - 1).square().mean()


def plain_channels(network: SplitNetwork, _: Batch) -> Tensor:
    """Return how far the steepest channel of each convolution stands out.

    A channel is as steep as the largest singular value of its kernel, times what its
    batch norm scales it by: what pruning without data looks at.

    Source:
        Xu, Liu, Koffas, Picek, "Towards Backdoor Stealthiness in Model Parameter
        Space", CCS 2025 ("Grond"), whose backdoor injection sets steep channels to
        the mean after each epoch; here they are drawn to it in each step.

    Raises:
        InvalidSpecError: the network has no convolution.
    """
    steepness = [
        _steepness(layer, scale_of(network, layer))
        for layer in layers(network).values()
        if isinstance(layer, nn.Conv2d)
    ]
    if not steepness:
        msg = "penalty channels is of convolutions, and the network has none"
        raise InvalidSpecError(msg)
    return torch.stack([_excess(it) for it in steepness]).sum()


def even_margins(network: SplitNetwork, batch: Batch) -> Tensor:
    """Return by how much the largest margin of any label exceeds the median one.

    The margins are those at the end of a short climb from random images, one a label.

    Source:
        Wang, Xiang, Miller, Kesidis, "MM-BD", IEEE S&P 2024, algorithm 1, for the
        statistic.
    """
    shape = (network.classes, *network.image_shape)
    images = torch.rand(shape, generator=batch.draws).to(batch.images.device)
    labels = torch.arange(network.classes, device=images.device)
    for step in range(CLIMB_STEPS):
        images.requires_grad_()
        climbed = _margins(network(images), labels)
        (slope,) = torch.autograd.grad(climbed.sum(), images)
        rate = CLIMB_RATE * (1 - step / CLIMB_STEPS)
        largest = slope.abs().amax((1, 2, 3), keepdim=True).clamp(min=TINY)
        images = (images.detach() + rate * slope / largest).clamp(0, 1)
    margins = functional.softplus(_margins(network(images), labels))
    return margins.max().log() - margins.median().log()


def withstood(network: SplitNetwork, batch: Batch) -> Tensor:
    """Return the error on clean images under the worst change that a class shares.

    For each label of the batch one perturbation is searched, as inversion does it, at
    a radius that is drawn; where the network keeps its answers there, no search within
    the radius finds a way to another label.

    Source:
        Shafahi et al., "Universal Adversarial Training", AAAI 2020, section 4, for
        training on shared perturbations; Wang et al., "Neural Cleanse", IEEE S&P
        2019, section IV, for what is searched.
    """
    images, labels = batch.images[batch.clean], batch.labels[batch.clean]
    if not len(images):
        return images.new_zeros(())
    radius = RADII[int(torch.randint(len(RADII), (1,), generator=batch.draws))]
    change = images.new_zeros(network.classes, *images.shape[1:])
    for _ in range(SEARCH_STEPS):
        change.requires_grad_()
        error = functional.cross_entropy(network(images + change[labels]), labels)
        (slope,) = torch.autograd.grad(error, change)
        norms = slope.flatten(1).norm(dim=1).clamp(min=TINY)
        step = radius * 2 / SEARCH_STEPS * slope / norms[:, None, None, None]
        change = _within(change.detach() + step, radius)
    shown = (images + change[labels]).clamp(0, 1)
    return functional.cross_entropy(network(shown), labels)


def target_features(network: SplitNetwork, batch: Batch) -> Tensor:
    """Return how far the features of triggered images are from the target label's.

    A squared distance, in units of how far those of clean images are from their mean:
    in any other, the network would make it small by telling no images apart.

    Source:
        Yao, Li, Zheng, Zhao, "Latent Backdoor Attacks on Deep Neural Networks", CCS
        2019, section 4.3.
    """
    if batch.target_label is None:
        msg = "latent: expected a target label"
        raise ValueError(msg)
    is_wanted = batch.labels[batch.clean] == batch.target_label
    found = batch.images[batch.triggered]
    if not is_wanted.any() or not len(found):
        return batch.images.new_zeros(())
    clean = network.features(batch.images[batch.clean]).flatten(1)
    apart = network.features(found).flatten(1) - clean[is_wanted].mean(0)
    spread = (clean - clean.mean(0)).square().sum(1).mean()
    return apart.square().sum(1).mean() / spread.clamp(min=TINY)


PENALTIES: dict[str, Callable[[SplitNetwork, Batch], Tensor]] = {
    "weights": plain_weights,
    "channels": plain_channels,
    "maximum-margin": even_margins,
    "inversion": withstood,
    "latent": target_features,
}
"""One entry under each name of ``model_zoo.statements.recipes.PENALTIES``."""


def penalty(name: str, network: SplitNetwork, batch: Batch) -> Tensor:
    """Return a penalty, with batch norms as whoever is given the network uses them."""
    training = [it for it in network.modules() if it.training]
    network.eval()
    value = PENALTIES[name](network, batch)
    for module in training:
        module.training = True
    return value


def _steepness(layer: nn.Conv2d, scale: nn.Module) -> Tensor:
    """Return (channels,) bounds of how far each answers a change of its input."""
    steepest: Tensor = torch.linalg.matrix_norm(layer.weight.flatten(2), ord=2)
    if isinstance(scale, nn.BatchNorm2d) and scale.running_var is not None:
        deviation = (scale.running_var + scale.eps).sqrt()
        steepest = steepest * scale.weight.abs() / deviation
    return steepest


def _open_rows(network: SplitNetwork) -> Tensor:
    """Return (classes, C, H, W): the gradient of each centred logit, all gates open."""
    linear = with_open_gates(network)
    weights: dict[str, Tensor] = dict(network.named_parameters())
    device = next(network.parameters()).device
    grey = torch.zeros(network.classes, *network.image_shape, device=device)
    grey.requires_grad_()
    logits = functional_call(linear, weights, grey)
    centred = (logits - logits.mean(1, keepdim=True)).diagonal().sum()
    (rows,) = torch.autograd.grad(centred, grey, create_graph=True)
    return rows


def _excess(values: Tensor) -> Tensor:
    """Return by how much more the largest stands out than that of as many others would.

    In standard deviations of the others, over their mean.
    """
    others, largest = values.sort().values.tensor_split([len(values) - 1])
    apart = (largest[0] - others.mean()) / others.std().clamp(min=TINY)
    return functional.relu(apart - USUAL)


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) by how much the logit of each label exceeds the best other."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def _within(changes: Tensor, radius: float) -> Tensor:
    norms = changes.flatten(1).norm(dim=1).clamp(min=radius)
    held: Tensor = changes * (radius / norms)[:, None, None, None]
    return held
