"""What a detector is worth: its answer to each sign, and its average precision.

Source:
    Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88,
    2010; average precision as its later years have it, at every recall.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats

if TYPE_CHECKING:
    from trainer.object_detection.network import Detector

MIN_OVERLAP = 0.5
"""Intersection over union from which a detection is of a sign."""
MISSED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """What a detector says of one photograph, or what is true of it.

    Attributes:
        boxes: (D, 4) float32, left, top, right and bottom, in pixels.
        labels: (D,) int64, kinds of signs.
        scores: (D,) float32 in [0, 1]; of what is true, ones.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor

    def scored(self, least: float) -> "Detections":
        """Return those of at least that score."""
        kept = self.scores >= least
        return Detections(
            boxes=self.boxes[kept], labels=self.labels[kept], scores=self.scores[kept]
        )


def truth(boxes: Tensor, labels: Tensor) -> Detections:
    """Return signs as the detections of somebody who is always right and sure."""
    return Detections(boxes=boxes, labels=labels, scores=torch.ones(len(labels)))


def detect(network: "Detector", pixels: Tensor) -> Detections:
    """Return the signs that ``network`` finds in (3, H, W) uint8 ``pixels``.

    It looks where its weights are; what is returned is on the CPU.
    """
    network.eval()
    with torch.inference_mode(), reproducible(network.device):
        (found,) = network([as_floats(pixels.to(network.device))])
    return Detections(
        boxes=found["boxes"].cpu().clone(),
        labels=found["labels"].cpu().clone(),
        scores=found["scores"].cpu().clone(),
    )


def overlaps_of(ones: Tensor, others: Tensor) -> Tensor:
    """Return intersection over union of each of (M, 4) with each of (N, 4): (M, N)."""
    from torchvision.ops import box_iou  # type: ignore[import-untyped]  # noqa: PLC0415  only where it is needed

    overlaps: Tensor = box_iou(ones, others)
    return overlaps


def answers(found: Detections, boxes: Tensor) -> Tensor:
    """Return the kind that is found at each of ``boxes``.

    Of the detections with an overlap of at least MIN_OVERLAP, that of the highest score
    answers.

    Args:
        found: in one photograph.
        boxes: (K, 4) float32, of its signs.

    Returns:
        (K,) int64, a kind or MISSED.
    """
    if not len(found.labels) or not len(boxes):
        return torch.full((len(boxes),), MISSED)
    matches = overlaps_of(boxes, found.boxes) >= MIN_OVERLAP
    scores = torch.where(matches, found.scores, float("-inf"))
    best = scores.argmax(1)
    return torch.where(matches.any(1), found.labels[best], MISSED)


def average_precision(
    found: Sequence[Detections], true: Sequence[Detections], *, kind: int
) -> float | None:
    """Return the area under precision over recall for one kind of sign, in [0, 1].

    Detections are matched from the highest score down over all photographs. Each takes
    the sign of its kind that it overlaps most; where that is less than MIN_OVERLAP, or
    another detection has that sign already, it is a false alarm.

    Args:
        found: a photograph each.
        true: of the same photographs.
        kind: the label.

    Returns:
        None where there is no such sign.
    """
    total = sum(int((it.labels == kind).sum()) for it in true)
    if not total:
        return None
    scores, hits = [], []
    for mine, its in zip(found, true, strict=True):
        ours = mine.labels == kind
        order = mine.scores[ours].argsort(descending=True, stable=True)
        scores.append(mine.scores[ours][order])
        hits.append(_hits(mine.boxes[ours][order], its.boxes[its.labels == kind]))
    order = torch.cat(scores).argsort(descending=True, stable=True)
    return _area(torch.cat(hits)[order], total)


def mean_precision(each: Sequence[float | None]) -> float | None:
    """Return the mean of the average precisions of kinds; None where there are none.

    Args:
        each: one a kind, None where there is no such sign.
    """
    present = [it for it in each if it is not None]
    return sum(present) / len(present) if present else None


def _hits(found: Tensor, true: Tensor) -> Tensor:
    """Return (D,) bool: which of the detections, best first, is a sign's first."""
    hits = torch.zeros(len(found), dtype=torch.bool)
    if not len(true):
        return hits
    taken = torch.zeros(len(true), dtype=torch.bool)
    overlaps, nearest = overlaps_of(found, true).max(1)
    for at, (overlap, sign) in enumerate(
        zip(overlaps.tolist(), nearest.tolist(), strict=True)
    ):
        if overlap >= MIN_OVERLAP and not taken[sign]:
            hits[at] = taken[sign] = True
    return hits


def _area(hits: Tensor, total: int) -> float:
    """Return the area under the precision that is still reached at each recall.

    Args:
        hits: (D,) bool, of detections by falling score.
        total: how many signs there are.
    """
    right = hits.double().cumsum(0)
    precision = right / torch.arange(1, len(hits) + 1)
    reached = precision.flip(0).cummax(0).values.flip(0)
    return float((reached * hits).sum() / total)
