"""FT-SAM: fine-tune where the loss is flat, so that large weights shrink.

Each step takes the gradient at the worst weights nearby, where nearby is measured in
shares of each weight: neurons with large weights, as a backdoor's are, move furthest.
Batch norms learn on too; means and variances are measured at the network's own
weights only.

Source:
    Zhu, Wei, Shen, Fan, Wu, "Enhancing Fine-Tuning Based Backdoor Defense with
    Sharpness-Aware Minimization", ICCV 2023, section 4.2.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.fine_tuning import fine_tune
from trainer.defenses.repairs.repaired import Repaired
from trainer.networks import SplitNetwork
from trainer.training.fit import Runtime, gradients_of_the_error

RADIUS = 1.0
"""How far the worst weights are looked for. At 2, the paper's on CIFAR-10, one of two
digit classifiers collapsed to one label."""


def fine_tune_flat(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    """Repair ``network`` in place, with the whole of the schedule."""
    flat = replace(runtime, gradients=gradients_nearby)
    return fine_tune(network, clean, spec, generator, flat)


def gradients_nearby(
    network: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
) -> Tensor:
    """Leave the gradients at the worst weights nearby; the weights stay.

    Returns:
        (2,) float32, the batch's totals at the weights themselves.
    """
    found = gradients_of_the_error(network, inputs, labels, runtime)
    learned = [it for it in network.parameters() if it.grad is not None]
    own = [it.detach().clone() for it in learned]
    gradients = [it.grad for it in learned if it.grad is not None]
    with torch.no_grad():
        away = ascent(own, gradients, radius=RADIUS)
        for weight, move in zip(learned, away, strict=True):
            weight.add_(move)
    network.zero_grad()
    with _norms_unmeasured(network):
        gradients_of_the_error(network, inputs, labels, runtime)
    with torch.no_grad():
        for weight, kept in zip(learned, own, strict=True):
            weight.copy_(kept)
    return found


def ascent(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], *, radius: float
) -> list[Tensor]:
    """Return the step that raises the loss most, of norm ``radius``.

    The norm is that of the step in shares of the weights: with T = diag(abs(w)) and
    gradient g the step is radius T^2 g / abs(T g).
    """
    shares = [w.abs() * g for w, g in zip(weights, gradients, strict=True)]
    norm = torch.stack([it.norm() for it in shares]).norm()
    scale = radius / norm.clamp(min=torch.finfo(norm.dtype).tiny)
    return [it * own.abs() * scale for it, own in zip(shares, weights, strict=True)]


@contextmanager
def _norms_unmeasured(network: nn.Module) -> Iterator[None]:
    """Keep the means and variances of batch norms as they are for the block."""
    norms = [it for it in network.modules() if isinstance(it, nn.BatchNorm2d)]
    momenta = [it.momentum for it in norms]
    for norm in norms:
        norm.momentum = 0.0
    yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
