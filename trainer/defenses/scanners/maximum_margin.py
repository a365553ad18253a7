"""Maximum margin: how sure of each label a network can be made, from no data at all.

Source:
    Wang, Xiang, Miller, Kesidis, "MM-BD: Post-Training Detection of Backdoor Attacks
    with Arbitrary Backdoor Pattern Types Using a Maximum Margin Statistic", IEEE S&P
    2024, algorithm 1.
"""

import math

import torch
from scipy import stats

from trainer.defenses.scanners.perturbation import in_range, towards
from trainer.defenses.scanners.subject import Finding, Subject

LEVEL = 0.05
"""Under this p-value a network is suspicious, as in the paper."""
P_VALUE = "margin-p"
LEAST_MARGIN = 1e-3
"""That a label counts with that cannot be reached at all."""
LEAST_LABELS = 5
"""Whose margins a distribution can be fitted to."""
STARTS, STEPS, RATE = 4, 12, 0.25
"""Starts a label, and steps of so large a share of the inputs' range."""


def maximum_margin(subject: Subject) -> Finding:
    """Climb to the largest margin of every label, from random images."""
    shape = (subject.classes, STARTS, *subject.network.image_shape)
    images = torch.rand(shape, generator=subject.generator).to(subject.device)
    labels = torch.arange(subject.classes, device=subject.device)
    objective = towards(labels)
    best = torch.full((subject.classes,), -torch.inf, device=subject.device)
    for step in range(STEPS):
        images.requires_grad_()
        margins = objective(subject.logits(in_range(images)))
        best = torch.maximum(best, margins.detach().amax(1))
        (slope,) = torch.autograd.grad(margins.sum(), images)
        rate = RATE * (1 - step / STEPS)
        climb = slope / slope.abs().amax((-3, -2, -1), keepdim=True).clamp(min=1e-12)
        images = (images.detach() + rate * climb).clamp(0, 1)
    statistic = best.double().cpu().clamp(min=LEAST_MARGIN)
    odd = int(statistic.argmax())
    others = torch.cat([statistic[:odd], statistic[odd + 1 :]])
    centre = others.median()
    features = {
        "margin-ratio": (statistic[odd] / centre).item(),
        "margin-all": centre.item(),
        P_VALUE: _p_value(statistic),
    }
    return Finding(
        score=features["margin-ratio"], features=features, target_labels=(odd,)
    )


def _p_value(statistic: torch.Tensor) -> float:
    """Return how likely the largest of K statistics is, were it drawn as the others."""
    values = statistic.sort().values
    others, largest = values[:-1].numpy(), values[-1].item()
    if len(others) < LEAST_LABELS or others[0] == others[-1]:
        return 1.0
    if not values.isfinite().all():  # a network can be built so; nothing is fitted
        return math.nan
    shape, place, scale = stats.gamma.fit(others, floc=0)
    below = stats.gamma.cdf(largest, shape, loc=place, scale=scale)
    return float(1 - below ** len(values))
