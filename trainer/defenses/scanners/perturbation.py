"""Perturbations: the small change of many images at once that moves a network most.

A backdoor is a short way to a label that images of many kinds share: a network with
one can be moved further by one small perturbation than a clean one.

Source:
    Moosavi-Dezfooli et al., "Universal adversarial perturbations", CVPR 2017; the
    search is projected ascent with normalised gradients.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.defenses.scanners.subject import Objective, Subject

MOST_MARGIN = 10.0
"""What an image adds to the objective at most, so that no image outweighs the rest."""
STRIDE = 1 / 3
"""Of a step, in shares of the radius."""


def grow(
    subject: Subject,
    images: Tensor,
    objective: Objective,
    *,
    radii: Sequence[float],
    steps: int,
) -> dict[float, Tensor]:
    """Return the perturbations that raise ``objective`` most, from radius to radius.

    Each starts where the smaller one ended; all K are searched in one batch.

    Args:
        subject: the network, and what the search may cost.
        images: (K, n, C, H, W) float32 in [0, 1]: the n images that the k-th
            perturbation is added to.
        objective: what is to be raised.
        radii: the L2 norms of the perturbations, rising.
        steps: at each radius.

    Returns:
        Radius -> (K, C, H, W) float32.
    """
    found = torch.zeros_like(images[:, 0])
    at = {}
    for radius in radii:
        for _ in range(steps):
            found.requires_grad_()
            shown = in_range(images + found[:, None])
            raised = objective(subject.logits(shown)).clamp(max=MOST_MARGIN)
            (slope,) = torch.autograd.grad(raised.mean(1).sum(), found)
            found = _within(found.detach() + radius * STRIDE * _unit(slope), radius)
        at[radius] = found
    return at


def in_range(images: Tensor) -> Tensor:
    """Return ``images`` cut to [0, 1], with a slope for whoever climbs.

    ``clamp`` has none at 0 and at 1, where most pixels of a digit are: a black pixel
    would never be found to matter. Here it has one as long as it leads inwards.
    """
    cut: Tensor = _InRange.apply(images)
    return cut


class _InRange(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:  # noqa: ANN401  torch's
        context.save_for_backward(images)
        return images.clamp(0, 1)

    @staticmethod
    def backward(context: Any, slope: Tensor) -> Tensor:  # noqa: ANN401  torch's
        (images,) = context.saved_tensors
        leads_out = ((images <= 0) & (slope < 0)) | ((images >= 1) & (slope > 0))
        return slope.masked_fill(leads_out, 0)


def promise(
    subject: Subject, images: Tensor, objective: Objective, *, radius: float
) -> Tensor:
    """Return (K,) what ``objective`` would be at ``radius``, were it linear.

    Arguments as for ``grow``; one pass an image.
    """
    none = torch.zeros_like(images[:, 0]).requires_grad_()
    raised = objective(subject.logits(images + none[:, None])).mean(1)
    (slope,) = torch.autograd.grad(raised.sum(), none)
    promised: Tensor = raised.detach() + radius * slope.flatten(1).norm(dim=1)
    return promised


@torch.no_grad()
def judged(
    subject: Subject, images: Tensor, perturbations: Tensor, objective: Objective
) -> Tensor:
    """Return (K,) means of ``objective`` over images with the perturbation added."""
    shown = (images + perturbations[:, None]).clamp(0, 1)
    return objective(subject.logits(shown)).mean(1)


def away_from(labels: Tensor) -> Objective:
    """Return the objective of leaving ``labels`` ((K, n) int64), whatever for.

    It is the best other logit less that of the label.
    """

    def raised(logits: Tensor) -> Tensor:
        own = logits.gather(2, labels[..., None])
        others = logits.scatter(2, labels[..., None], -torch.inf)
        return others.amax(2) - own[..., 0]

    return raised


def towards(targets: Tensor) -> Objective:
    """Return the objective of reaching the k-th of ``targets`` ((K,) int64).

    It is the logit of the target less the best other.
    """

    def raised(logits: Tensor) -> Tensor:
        wanted = targets[:, None, None].expand(*logits.shape[:2], 1)
        own = logits.gather(2, wanted)[..., 0]
        return own - logits.scatter(2, wanted, -torch.inf).amax(2)

    return raised


def _unit(slopes: Tensor) -> Tensor:
    norms = slopes.flatten(1).norm(dim=1).clamp(min=torch.finfo(slopes.dtype).tiny)
    unit: Tensor = slopes / norms[:, None, None, None]
    return unit


def _within(perturbations: Tensor, radius: float) -> Tensor:
    norms = perturbations.flatten(1).norm(dim=1)
    held: Tensor = (
        perturbations * (radius / norms.clamp(min=radius))[:, None, None, None]
    )
    return held
