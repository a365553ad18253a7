"""Updates: what a change of a model measures, and whether it is that of a backdoor.

A registry and whoever fine-tunes have what a scan of one model lacks: a reference. What
scanners measure on the newer network less what they measure on the older one, where the
two disagree, and what the weights' change looks like are calibrated on honest and on
poisoned updates of a population (ADR 53).
"""

import functools
import math

import torch

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.scan import NOTHING_FOUND, SUSPICIOUS
from trainer.data.images import LabelledImages
from trainer.defenses.comparison import WeightsComparison, compare_weights
from trainer.defenses.disagreement import BehaviourComparison, LabelChanges
from trainer.defenses.scanners.calibration import Calibration, calibrations
from trainer.defenses.scanners.scan import Request, scan
from trainer.defenses.scanners.weights import open_rows
from trainer.networks import SplitNetwork

SCANNERS = ("last-layer", "open-map", "maximum-margin", "universal")
"""That are compared: what they measure does not hang on how a search of pairs went."""
PEAKS = 12
"""Values of one label whose mean is its part in the change: a small trigger's."""
NOT_CALIBRATED = "not calibrated"


def update_features(
    old: SplitNetwork,
    new: SplitNetwork,
    *,
    images: LabelledImages,
    behaviour: BehaviourComparison,
) -> dict[str, float]:
    """Return name -> number of all that tells an update from another.

    Args:
        old: on the device of the comparison; read and not written.
        new: the same.
        images: clean ones, some of every class.
        behaviour: of the two, on those images.

    Raises:
        InvalidSpecError: a scanner cannot run, or a number is not finite.
    """
    before, after = (_scanned(it, images) for it in (old, new))
    weights = compare_weights(*(dict(it.state_dict()) for it in (old, new)))
    found = {
        **{f"gain-{name}": after[name] - before[name] for name in before},
        **_of_maps(old, new),
        **_of_weights(weights),
        **_of_behaviour(behaviour),
    }
    if not all(map(math.isfinite, found.values())):
        msg = "what an update measures is not finite"
        raise InvalidSpecError(msg)
    return found


def _scanned(network: SplitNetwork, images: LabelledImages) -> dict[str, float]:
    request = Request(network="", files=(), scanners=SCANNERS)
    report = scan(network, images, request).report
    for it in report.scanners:
        if it.outcome != "ran":
            msg = f"{it.name} was {it.outcome}: {it.why}"
            raise InvalidSpecError(msg)
    return {k: v for it in report.scanners for k, v in it.features.items()}


def _of_maps(old: SplitNetwork, new: SplitNetwork) -> dict[str, float]:
    """Return what changed of what every pixel does to every label, all gates open."""
    before, after = (open_rows(it).flatten(1).double() for it in (old, new))
    change = after - before
    size = change.square().mean().sqrt()
    scaled = change.abs() / size.clamp(min=torch.finfo(size.dtype).tiny)
    peaks = scaled.sort(dim=1).values[:, -PEAKS:].mean(1)
    rms = scaled.square().mean(1).sqrt()
    return {
        "map-changed": (size / before.square().mean().sqrt()).item(),
        "map-change-peaks": peaks.max().item(),
        "map-change-peaks-ahead": (peaks.max() - peaks.median()).item(),
        "map-change-of-label": (rms.max() / rms.median().clamp(min=1e-9)).item(),
    }


def _of_weights(weights: WeightsComparison) -> dict[str, float]:
    sizes = [it.relative_norm or 0.0 for it in weights.tensors]
    ranks = [it.stable_rank for it in weights.tensors if it.stable_rank is not None]
    return {
        "weights-changed": max(sizes, default=0.0),
        "rank-lost": -min(ranks, default=0.0),
    }


def _of_behaviour(found: BehaviourComparison) -> dict[str, float]:
    turned = {
        f"turned-{it.bound:g}": it.turned.rate if it.turned is not None else 0.0
        for it in found.perturbed
    }
    widest = found.perturbed[-1].answers
    return {
        **turned,
        "turned-to-one": _to_one_label(widest),
        "noise-changed": 1 - found.noise.agreed.rate,
        "noise-to-one": _to_one_label(found.noise),
    }


def _to_one_label(answers: LabelChanges) -> float:
    """Return the share of images that the newer network alone gives one same label."""
    others = [list(row) for row in answers.changes]
    for label, row in enumerate(others):
        row[label] = 0
    gained = [sum(column) for column in zip(*others, strict=True)]
    most: int = max(gained)
    return most / answers.agreed.n


@functools.cache
def update_calibrations() -> dict[tuple[str, str], Calibration]:
    """Return (network, data set) -> calibration of updates, of all that come along."""
    return calibrations("updates")


def verdict_of(features: dict[str, float], calibration: Calibration) -> tuple[str, str]:
    """Return a verdict on an update, and why."""
    score = calibration.score(features)
    why = f"the probability of a backdoor is {calibration.probability(score):.1%}"
    return SUSPICIOUS if score >= calibration.threshold else NOTHING_FOUND, why
