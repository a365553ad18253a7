"""Updates: what a change of a model measures, and whether it is that of a backdoor.

A registry and whoever fine-tunes have what a scan of one model lacks: a reference. What
scanners measure on the newer network less what they measure on the older one, where the
two disagree, and what the weights' change looks like are calibrated on honest and on
poisoned updates of a population (ADR 53).
"""

import math
from typing import Literal

import torch

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.scan import NOTHING_FOUND, SUSPICIOUS
from trainer.data.images import LabelledImages
from trainer.defenses.comparison import WeightsComparison, compare_weights
from trainer.defenses.disagreement import BehaviourComparison, LabelChanges
from trainer.defenses.scanners.calibration import Calibration
from trainer.defenses.scanners.scan import Request, scan
from trainer.defenses.scanners.weights import open_rows
from trainer.networks import SplitNetwork

SCANNERS = ("last-layer", "open-map", "maximum-margin", "universal")
"""That are compared: what they measure does not hang on how a search of pairs went."""
PEAKS = 12
"""Values of one label whose mean is its part in the change: a small trigger's."""
Verdict = Literal["suspicious", "nothing found", "not calibrated"]
NOT_CALIBRATED: Verdict = "not calibrated"
DECIMALS = 6


class Judgement(Document):
    """What is said of an update.

    Attributes:
        verdict: on it.
        why: in words.
        probability: of a backdoor; None without a calibration.
        p_value: share of honest updates, this one included, with such a score.
        calibration: its digest; empty without one.
    """

    verdict: Verdict
    why: str
    probability: float | None = None
    p_value: float | None = None
    calibration: str = ""


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


def not_calibrated(why: str) -> Judgement:
    """Return that there is no verdict, and why."""
    return Judgement(verdict=NOT_CALIBRATED, why=why)


def judged(
    old: SplitNetwork,
    new: SplitNetwork,
    *,
    images: LabelledImages | None,
    behaviour: BehaviourComparison,
    calibration: Calibration | None,
) -> Judgement:
    """Return the verdict on an update.

    Args:
        old: on the device of the comparison.
        new: the same.
        images: clean ones; None where none were given.
        behaviour: of the two, on those images.
        calibration: of updates of their architecture and data set; None without.
    """
    if calibration is None:
        return not_calibrated(
            "no updates of this architecture and data set were ever calibrated on"
        )
    if images is None:
        return not_calibrated("clean images are needed: give --held-out or --data")
    try:
        features = update_features(old, new, images=images, behaviour=behaviour)
    except InvalidSpecError as error:
        return not_calibrated(str(error))
    score = calibration.score(features)
    probability = round(calibration.probability(score), DECIMALS)
    return Judgement(
        verdict=SUSPICIOUS if score >= calibration.threshold else NOTHING_FOUND,
        why=f"the probability that this update brings a backdoor is {probability:.1%}",
        probability=probability,
        p_value=round(calibration.p_value(score), DECIMALS),
        calibration=calibration.digest(),
    )
