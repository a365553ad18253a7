"""I-BAU: unlearn the perturbation that misleads most images, and look one move ahead.

A minimax: one perturbation is grown until it raises the loss of a batch, and the
weights go down the gradient of that loss, the perturbation's own answer to the weights
included. It is carried from batch to batch. Batch norms stay as they are.

Source:
    Zeng, Chen, Park, Mao, Jin, Jia, "Adversarial Unlearning of Backdoors via Implicit
    Hypergradient", ICLR 2022, sections 3 and 4, algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.fine_tuning import fine_tune
from trainer.defenses.repairs.repaired import Repaired
from trainer.networks import SplitNetwork
from trainer.networks.inference import as_floats
from trainer.training.fit import Gradients, Runtime, answered, totals

RADIUS = 2.5
"""The perturbation's L2 norm at most."""
MOVES = 3
"""Of the perturbation, on each batch."""
STRIDE = 1 / 3
"""Of a move, in shares of the radius."""
TERMS = 3
"""Of the series that solves for the implicit gradient."""
RATE = 0.1
"""Of the move that the implicit gradient takes the perturbation to have made."""


def unlearn_worst(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    """Repair ``network`` in place, with the whole of the schedule."""
    hold_norms(network)
    return fine_tune(
        network, clean, spec, generator, replace(runtime, gradients=minimax())
    )


def minimax() -> Gradients:
    """Return the gradients of the loss under the worst perturbation so far."""
    worst: Tensor | None = None

    def gradients(
        network: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
    ) -> Tensor:
        nonlocal worst
        images = as_floats(inputs)
        if worst is None:
            worst = torch.zeros_like(images[0])

        def loss_of(perturbation: Tensor) -> tuple[Tensor, Tensor]:
            shown = (images + perturbation).clamp(0, 1)
            logits = answered(network, shown, runtime)
            return functional.cross_entropy(logits, labels), logits

        for _ in range(MOVES):
            worst.requires_grad_()
            (slope,) = torch.autograd.grad(loss_of(worst)[0], worst)
            worst = moved(worst.detach(), slope)
        loss, logits = loss_of(worst.requires_grad_())
        learned = [it for it in network.parameters() if it.requires_grad]
        for weight, gradient in zip(
            learned, hypergradients(loss, worst, learned), strict=True
        ):
            weight.grad = gradient
        worst = worst.detach()
        return totals(loss, logits, labels)

    return gradients


def moved(perturbation: Tensor, slope: Tensor) -> Tensor:
    """Return ``perturbation`` moved up ``slope``, its norm within RADIUS."""
    tiny = torch.finfo(slope.dtype).tiny
    further = perturbation + RADIUS * STRIDE * slope / slope.norm().clamp(min=tiny)
    within: Tensor = further * (RADIUS / further.norm().clamp(min=RADIUS))
    return within


def hypergradients(
    loss: Tensor, perturbation: Tensor, weights: Sequence[Tensor]
) -> list[Tensor]:
    """Return the gradient of ``loss`` in the weights, the perturbation's answer too.

    The perturbation answers the weights by a step p + RATE dloss/dp that leaves it
    where it is; what it adds is v times the derivative of that step in the weights,
    with v = dloss/dp + v times its derivative in p, of which TERMS are summed.
    """
    (slope,) = torch.autograd.grad(loss, perturbation, create_graph=True)
    direct = torch.autograd.grad(loss, weights, retain_graph=True)
    step = perturbation + RATE * slope
    first = slope.detach()
    seen = first
    for _ in range(TERMS):
        (again,) = torch.autograd.grad(step, perturbation, seen, retain_graph=True)
        seen = first + again
    answer = torch.autograd.grad(step, weights, seen)
    return [a + b for a, b in zip(direct, answer, strict=True)]


def hold_norms(network: nn.Module) -> None:
    """Have ``fit`` leave every batch norm as it is."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(requires_grad=False)
