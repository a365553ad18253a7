"""SPECTRE: spectral signatures after the unpoisoned images' own spread is taken out.

A trigger seldom makes a label's first direction, and is in none of the first few alone.
Whitened by a covariance that poisoned images hardly move, unpoisoned ones are spread
alike in all directions, and what still stands out is scored by quantum entropy (QUE).

Source:
    Hayase, Kong, Somani, Oh, "SPECTRE: Defending Against Backdoor Attacks Using Robust
    Statistics", arXiv:2104.11315, algorithms 1 to 3. The robust covariance here is that
    of Rousseeuw, Van Driessen, "A Fast Algorithm for the Minimum Covariance
    Determinant Estimator", Technometrics 41 (1999), and not the paper's.
"""

from functools import partial

import torch
from torch import Tensor

from trainer.data.images import LabelledImages
from trainer.defenses.filters.classes import (
    MARGIN,
    SMALLEST,
    Filtered,
    Judged,
    by_class,
    principal,
    require_share,
)
from trainer.networks import SplitNetwork

DIMENSIONS = (8, 16, 32)
"""Principal components that are tried."""
PARTS = (1.0, 0.5, 0.25)
"""Of the share, tried as what is left out of the covariance: leaving out too many makes
what is merely unusual look poisoned."""
ALPHA = 4.0
"""Of QUE, as in the paper."""
LEAST_KEPT = 0.5
"""Of a label's images: a covariance of fewer may be that of the poisoned ones."""
LEAST_PER_DIMENSION = 10
"""Images: a covariance of fewer is mostly chance."""
STEPS = 19
"""Of the robust covariance; it settles in fewer."""
LEAST_SEPARATION = 5.6
"""Standard deviations between two heaps. Of 64 unpoisoned labels of seven networks
(MNIST, seeds 0 and 1) none came over 5.5."""


def spectre(
    network: SplitNetwork,
    training: LabelledImages,
    *,
    share: float,
    generator: torch.Generator,
) -> Filtered:
    """Return of each label the images with large QUE scores, if they stand apart.

    The paper takes as many as are expected, from a label that is known. Here logarithms
    of the scores are cut into two heaps, and the upper one is suspected if it stands
    LEAST_SEPARATION apart: nothing is taken from most unpoisoned labels. That distance
    is a label's strength, and chooses dimensions and covariance.

    Arguments and errors as for every filter; ``share`` is the most that is looked for,
    and nothing is drawn.
    """
    del generator
    require_share(share)
    return by_class(network, training, partial(_judge, share=share))


def _judge(found: Tensor, *, share: float) -> Judged:
    most = len(found) // LEAST_PER_DIMENSION
    points = principal(found, min(most, DIMENSIONS[-1]))
    sizes = {min(it, points.shape[1]) for it in DIMENSIONS}
    judged = [
        _scored(points[:, :size], left_out=MARGIN * part * share)
        for size in sorted(sizes)
        for part in PARTS
    ]
    return max(judged, key=lambda it: it.strength)


def _scored(points: Tensor, *, left_out: float) -> Judged:
    kept = max(LEAST_KEPT, 1 - left_out)
    centre, covariance = robust_covariance(points, kept=kept)
    scores = que(_whitened(points - centre, covariance))
    upper, strength = two_heaps(scores.clamp(min=SMALLEST).log())
    if strength < LEAST_SEPARATION:
        upper = torch.zeros_like(upper)
    return Judged(scores=scores, suspects=upper, strength=strength)


def two_heaps(values: Tensor) -> tuple[Tensor, float]:
    """Return which values are in the upper of two heaps, and how far apart those are.

    They are cut where the variance within them is least. Apart by the difference of
    their means, in standard deviations within them; 0 if all values are the same.

    Args:
        values: (n,) float64, n at least 2.

    Returns:
        (n,) bool, and the distance.

    Source:
        Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Trans.
        Systems, Man, Cybernetics 9 (1979).
    """
    rising = values.sort().values
    n = len(rising)
    below = torch.arange(1, n)
    sums = rising.cumsum(0)
    low, high = sums[:-1] / below, (sums[-1] - sums[:-1]) / (n - below)
    between = below * (n - below) / n**2 * (high - low).square()
    best = int(between.argmax())
    within = rising.var(correction=0) - between[best]
    if rising[0] == rising[-1]:
        return torch.zeros(n, dtype=torch.bool), 0.0
    least = torch.finfo(torch.float64).tiny
    apart = (high[best] - low[best]) / within.clamp(min=least).sqrt()
    return values > rising[best], float(apart)


def que(white: Tensor) -> Tensor:
    """Return the QUE score of each point, (n,) float64.

    Args:
        white: (n, k) float64, of which most have an identity covariance.
    """
    spread = white.T @ white / len(white)
    one = torch.eye(len(spread), dtype=spread.dtype)
    beyond = torch.linalg.matrix_norm(spread, ord=2) - 1
    if beyond <= 0:  # nothing stands out in any direction
        return white.square().mean(1)
    weights = torch.linalg.matrix_exp(ALPHA * (spread - one) / beyond)
    scores: Tensor = ((white @ weights) * white).sum(1) / weights.trace()
    return scores


def robust_covariance(points: Tensor, *, kept: float) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of the ``kept`` share that lies closest together.

    Closest by the mean and covariance themselves, to which it goes step by step: each
    lowers the determinant.

    Args:
        points: (n, k) float64, n over k.
        kept: in (0, 1].
    """
    count = max(points.shape[1] + 1, round(kept * len(points)))
    chosen = (points - points.median(0).values).norm(dim=1).argsort()[:count]
    centre, covariance = _spread(points[chosen])
    for _ in range(STEPS):
        apart = _whitened(points - centre, covariance).square().sum(1)
        before, chosen = chosen, apart.argsort()[:count]
        if torch.equal(before.sort().values, chosen.sort().values):
            break
        centre, covariance = _spread(points[chosen])
    return centre, covariance


def _spread(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of (n, k)."""
    return points.mean(0), torch.cov(points.T).reshape(points.shape[1], -1)


def _whitened(points: Tensor, covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    largest = values[-1].clamp(min=torch.finfo(values.dtype).tiny)
    # a direction without any spread is rounding error
    least = largest * torch.finfo(values.dtype).eps * len(values)
    white: Tensor = points @ vectors / values.clamp(min=least).sqrt()
    return white
