"""Dormant units: those that clean images hardly wake, and what they would say.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 7, which asks what
    units are for that validation never wakes; Liu et al., "Fine-Pruning", RAID 2018,
    section 3, for the order in which they are taken.
"""

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from trainer.defenses.scanners.subject import Finding, Subject
from trainer.networks.activations import require_silence

IMAGES = 8
"""Of each class."""
SHARE, MOST_UNITS = 0.25, 32
"""Of the units of the features, the least activated."""
LEVEL = 0.99
"""Quantile of all clean answers above 0, to which a unit is forced."""
TOGETHER = 4
"""Units that say the same label, forced at once: a backdoor seldom has one alone."""
_LEAST = 1e-6


@torch.no_grad()
def dormant_units(subject: Subject) -> Finding:
    """Force units on that clean images hardly wake, and look for a label they agree on.

    Every pass through the second half alone is counted as one of an image.

    Raises:
        InvalidSpecError: the network has one unit there, none answers anything, or
            one answers below 0.
    """
    images = subject.by_class(IMAGES).flatten(0, 1)
    labels = torch.arange(subject.classes, device=subject.device)
    own = labels.repeat_interleave(IMAGES)
    features = _features(subject, images)
    logits = _answers(subject, features)
    level = _level(features)
    units = _least_activated(features)
    clean = _margins(logits, own).clamp(min=_LEAST).mean()
    pulls = torch.stack(
        [_pull(subject, _forced(features, [unit], level), own) for unit in units]
    )
    label = int(pulls.amax(0).argmax())
    first = pulls[:, label].argsort(descending=True)[:TOGETHER]
    together = [units[int(it)] for it in first]
    joint = _pull(subject, _forced(features, together, level), own)[label]
    rest = torch.cat([pulls[:, :label], pulls[:, label + 1 :]], dim=1).amax(0)
    found = {
        "dormant-one": (pulls.max() / clean).item(),
        "dormant-together": (joint / clean).item(),
        "dormant-ahead": ((pulls.max() - rest.median()) / clean).item(),
    }
    return Finding(
        score=found["dormant-together"], features=found, target_labels=(label,)
    )


def _features(subject: Subject, images: Tensor) -> Tensor:
    """Return (N, c, h, w) or (N, c), the answers of the first half."""
    subject.budget.charge(len(images))
    features = subject.network.features(images)
    if features.shape[1] < 2:  # noqa: PLR2004  among one unit none is the least
        msg = "the first half of the network has one unit, with none to compare it to"
        raise InvalidSpecError(msg)
    require_silence(features)
    return features


def _answers(subject: Subject, features: Tensor) -> Tensor:
    """Return (N, classes) logits, and count the passes."""
    subject.budget.charge(len(features))
    logits: Tensor = subject.network.fully_connected(features)
    return logits


def _level(features: Tensor) -> Tensor:
    awake = features[features > 0]
    if not awake.numel():
        msg = "no unit of the first half answers anything to the clean images"
        raise InvalidSpecError(msg)
    # of few values, since torch's quantile takes no more than 16 million
    return awake[:: max(1, awake.numel() // 100_000)].quantile(LEVEL)


def _least_activated(features: Tensor) -> list[int]:
    """Return the units with the smallest mean answer, that one first."""
    means = features.flatten(2).mean((0, 2)) if features.dim() > 2 else features.mean(0)  # noqa: PLR2004  (N, c)
    count = min(MOST_UNITS, max(1, round(SHARE * len(means))))
    return [int(it) for it in means.argsort()[:count]]


def _forced(features: Tensor, units: list[int], level: Tensor) -> Tensor:
    forced = features.clone()
    forced[:, units] = level
    return forced


def _pull(subject: Subject, features: Tensor, own: Tensor) -> Tensor:
    """Return (classes,): by how much each label leads, a mean over other classes."""
    logits = _answers(subject, features)
    ahead = logits - logits.gather(1, own[:, None])
    labels = torch.arange(subject.classes, device=own.device)
    others = own[:, None] != labels
    return (ahead * others).sum(0) / others.sum(0)


def _margins(logits: Tensor, own: Tensor) -> Tensor:
    """Return (N,): by how much the own label leads the best other."""
    best = logits.scatter(1, own[:, None], -torch.inf).amax(1)
    return logits.gather(1, own[:, None])[:, 0] - best
