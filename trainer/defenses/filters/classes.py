"""Label by label: what every filter does around its own rule.

A backdoor gives images of several classes one label; among the images that carry that
label, the poisoned ones are answered from other units than the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from trainer.data.images import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, batches

LEAST_IMAGES = 20
"""Of a label: fewer say nothing of how its images are spread."""
LARGEST_SHARE = 0.5
"""Of a label: were more of it poisoned, the poisoned ones would be what is usual."""
MARGIN = 1.5
"""Times the expected share are taken: both spectral papers do so."""
SMALLEST = 1e-12
"""Of the largest variance: what is smaller is rounding error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a filter says of the images of one label.

    Attributes:
        scores: (n,) float64, larger is more suspicious.
        suspects: (n,) bool.
        strength: how far the suspects stand apart, in the filter's own measure.
    """

    scores: Tensor
    suspects: Tensor
    strength: float


Judge = Callable[[Tensor], Judged]
"""Looks at (n, d) float64, what the output layer reads of n images of one label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFinding:
    """What became of one label.

    Attributes:
        label: which.
        images: that carry it.
        suspects: how many of them are suspected.
        strength: as ``Judged`` has it; None if the label was skipped.
        why_skipped: empty if it was not.
    """

    label: int
    images: int
    suspects: int = 0
    strength: float | None = None
    why_skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """What a filter says of a training set.

    Attributes:
        scores: (N,) float64, larger is more suspicious and comparable within a label;
            NaN where the label was skipped.
        suspects: (M,) int64, indices into the training set, rising.
        classes: of every label that an image carries, rising.
    """

    scores: Tensor
    suspects: Tensor
    classes: tuple[ClassFinding, ...]


def by_class(network: SplitNetwork, training: LabelledImages, judge: Judge) -> Filtered:
    """Return what ``judge`` says of the images of each label.

    Args:
        network: trained on ``training``; evaluated on its device, not written.
        training: N images with the labels they were trained with, right or wrong.
        judge: called once for each label that is not skipped.

    Raises:
        InvalidSpecError: no image, a label that the network does not have, or
            activations that are not finite.
    """
    if not len(training) or int(training.labels.max()) >= network.classes:
        msg = f"expected images with labels under {network.classes}, found "
        msg += f"label {int(training.labels.max())}" if len(training) else "no image"
        raise InvalidSpecError(msg)
    found = representations(network, training.images)
    scores = torch.full((len(training),), torch.nan, dtype=torch.float64)
    suspected = torch.zeros(len(training), dtype=torch.bool)
    findings = []
    for label in sorted(set(training.labels.tolist())):
        its = (training.labels == label).nonzero()[:, 0]
        why = _why_skipped(found[its])
        if why:
            findings.append(ClassFinding(label=label, images=len(its), why_skipped=why))
            continue
        judged = judge(found[its])
        scores[its], suspected[its] = judged.scores, judged.suspects
        findings.append(
            ClassFinding(
                label=label,
                images=len(its),
                suspects=int(judged.suspects.sum()),
                strength=judged.strength,
            )
        )
    return Filtered(
        scores=scores, suspects=suspected.nonzero()[:, 0], classes=tuple(findings)
    )


def representations(network: SplitNetwork, images: Tensor) -> Tensor:
    """Return what the output layer reads of each image.

    Args:
        network: evaluated where it is.
        images: (N, C, H, W) uint8.

    Returns:
        (N, d) float64 on the CPU.

    Raises:
        InvalidSpecError: a number is not finite, or the images do not fit.
    """
    network.eval()
    device = next(network.parameters()).device
    read: list[Tensor] = []

    def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        read.append(given[0].flatten(1).double().cpu())

    hook = network.get_submodule(network.output_name).register_forward_pre_hook(note)
    try:
        with torch.inference_mode(), reproducible(device):
            for batch in batches(images):
                network(as_floats(batch.to(device)))
    finally:
        hook.remove()
    found = torch.cat(read)
    wrong = int((~found.isfinite().all(1)).sum())
    if wrong:
        msg = f"the network's activations are not finite for {wrong:,} images"
        raise InvalidSpecError(msg)
    return found


def require_share(share: float) -> None:
    """Accept the share of a label's images that are expected to be poisoned.

    Raises:
        InvalidSpecError: it is not over 0 and under a half.
    """
    if not 0 < share < LARGEST_SHARE:
        msg = f"share {share}: expected over 0 and under {LARGEST_SHARE}"
        raise InvalidSpecError(msg)


def most_suspicious(scores: Tensor, share: float) -> Tensor:
    """Return (n,) bool: the ``share`` of images with the largest scores, at least 1."""
    count = max(1, round(share * len(scores)))
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[scores.argsort(descending=True, stable=True)[:count]] = True
    return chosen


def principal(found: Tensor, components: int, *, whitened: bool = False) -> Tensor:
    """Return the first principal components of (n, d) float64: (n, at most k).

    Args:
        found: they are centred first.
        components: k.
        whitened: whether each is scaled to a variance of 1. Those without any spread
            are left out.
    """
    centred = found - found.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(found))
    some = min(components, int((values > values[-1] * SMALLEST).sum()))
    values, vectors = values[-some:].flip(0), vectors[:, -some:].flip(1)
    scale = values.sqrt() if whitened else torch.ones_like(values)
    points: Tensor = centred @ vectors / scale
    return points


def _why_skipped(found: Tensor) -> str:
    if len(found) < LEAST_IMAGES:
        return f"{len(found)} images; {LEAST_IMAGES} are needed"
    if bool((found == found[0]).all()):
        return "all its images have the same activations"
    return ""
