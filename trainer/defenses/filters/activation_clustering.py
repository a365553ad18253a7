"""Activation clustering: a label whose images fall into two clusters, one small.

The paper's independent components are left out: they are a rotation of the whitened
principal components, and neither k-means nor a silhouette changes when all is rotated.

Source:
    Chen, Carvalho, Baracaldo, Ludwig, Edwards, Lee, Molloy, Srivastava, "Detecting
    Backdoor Attacks on Deep Neural Networks by Activation Clustering",
    arXiv:1811.03728, sections 4 and 5.
"""

from functools import partial

import torch
from torch import Tensor

from trainer.data.images import LabelledImages
from trainer.defenses.filters.classes import (
    Filtered,
    Judged,
    by_class,
    principal,
    require_share,
)
from trainer.networks import SplitNetwork

COMPONENTS = 10
"""As in section 5."""
STARTS, STEPS = 10, 100
"""Of k-means, each from two images that were drawn; it has long settled by then."""
MOST_COMPARED = 2_000
"""Images whose distances to each other make the silhouette."""
LEAST_SILHOUETTE = 0.15
"""Section 5.2: unpoisoned labels had 0.10 to 0.12, poisoned ones over 0.15."""


def activation_clustering(
    network: SplitNetwork,
    training: LabelledImages,
    *,
    share: float,
    generator: torch.Generator,
) -> Filtered:
    """Return the smaller of two clusters of each label that falls into two.

    A label falls into two if their silhouette is at least LEAST_SILHOUETTE and the
    smaller one holds at most ``share`` of its images. Its strength is the silhouette.

    Arguments and errors as for every filter.
    """
    require_share(share)
    return by_class(
        network, training, partial(_judge, share=share, generator=generator)
    )


def _judge(found: Tensor, *, share: float, generator: torch.Generator) -> Judged:
    points = principal(found, COMPONENTS, whitened=True)
    small, centres = _two_means(points, generator)
    some = torch.randperm(len(points), generator=generator)[:MOST_COMPARED]
    strength = silhouette(points[some], small[some])
    apart = torch.cdist(points, centres)
    is_apart = strength >= LEAST_SILHOUETTE and small.double().mean() <= share
    return Judged(
        scores=apart[:, 0] - apart[:, 1],
        suspects=small if is_apart else torch.zeros_like(small),
        strength=strength,
    )


def silhouette(points: Tensor, second: Tensor) -> float:
    """Return the mean silhouette of two clusters, in [-1, 1]; 0 if one is empty.

    Args:
        points: (n, d) float64.
        second: (n,) bool, which are in the second cluster.

    Source:
        Rousseeuw, "Silhouettes", J. Comput. Appl. Math. 20 (1987).
    """
    sizes = torch.stack([(~second).sum(), second.sum()])
    if not bool(sizes.all()):
        return 0.0
    distances = torch.cdist(points, points)
    sums = torch.stack([distances[:, ~second].sum(1), distances[:, second].sum(1)], 1)
    own = second.long()[:, None]
    # its distance to itself is 0, and is not counted
    within = sums.gather(1, own) / (sizes[own] - 1).clamp(min=1)
    between = sums.gather(1, 1 - own) / sizes[1 - own]
    both = torch.maximum(within, between).clamp(min=torch.finfo(torch.float64).tiny)
    alone = sizes[own] == 1
    return float(torch.where(alone, 0, (between - within) / both).mean())


def _two_means(points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return which points are in the smaller of two clusters, and both centres.

    Returns:
        (n,) bool, and (2, d) float64, the centre of the smaller cluster last.
    """
    best, least = torch.zeros(len(points), dtype=torch.bool), float("inf")
    for _ in range(STARTS):
        drawn = torch.randperm(len(points), generator=generator)[:2]
        second, error = _settled(points, points[drawn])
        if error < least:
            best, least = second, error
    if best.sum() * 2 > len(best):
        best = ~best
    return best, torch.stack([_mean(points, ~best), _mean(points, best)])


def _settled(points: Tensor, centres: Tensor) -> tuple[Tensor, float]:
    """Return which points end in the second cluster, and the squared error."""
    second = torch.zeros(len(points), dtype=torch.bool)
    for _ in range(STEPS):
        apart = torch.cdist(points, centres)
        before, second = second, apart[:, 1] < apart[:, 0]
        if bool((before == second).all()):
            break
        centres = torch.stack([_mean(points, ~second), _mean(points, second)])
    return second, float(torch.cdist(points, centres).amin(1).square().sum())


def _mean(points: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen points; of all, if none is."""
    return points[chosen].mean(0) if bool(chosen.any()) else points.mean(0)
