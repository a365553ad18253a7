"""Watches: a guard that is ready, with a threshold set on clean images alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from trainer.data.images import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, batches

Scores = Callable[[Tensor], Tensor]
"""Returns (N,) float64, larger is more suspicious, of (N, C, H, W) float32 images in
[0, 1] on the device of the network; those of one image depend on no other. Called in
``torch.inference_mode``."""

Guard = Callable[[SplitNetwork, LabelledImages, torch.Generator], Scores]
"""Makes ready on clean images of the defender's own, at least one; writes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A guard that is ready.

    Attributes:
        network: that is watched.
        scores: of the guard.
        threshold: an image that scores higher is suspicious.
        clean: how many clean images set the threshold.
    """

    network: SplitNetwork
    scores: Scores
    threshold: float
    clean: int

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the label that each image is given, and its score.

        Args:
            images: (N, C, H, W) uint8.

        Returns:
            (N,) int64 and (N,) float64, on the CPU.

        Raises:
            InvalidSpecError: the images do not fit the network, or a score is not a
                number.
        """
        return _looked(self.network, self.scores, images)


def watch(
    guard: Guard,
    network: SplitNetwork,
    clean: LabelledImages,
    *,
    false_alarms: float,
    generator: torch.Generator,
) -> Watch:
    """Return ``guard``, ready to look at what ``network`` is shown.

    Of each label the first half of the clean images makes the guard ready, and the
    other sets the threshold: a clean image like those is above it with a probability of
    at most ``false_alarms``. Halves are not drawn: neighbours in a data set may be of
    one hand or one drive, and would make the threshold too low for others.

    Args:
        guard: an entry of GUARDS.
        network: evaluated where it is.
        clean: images of the defender's own, with their true labels.
        false_alarms: in (0, 1).
        generator: on the CPU, draws.

    Raises:
        InvalidSpecError: the images do not fit the network, are too few, or their
            scores are not numbers.

    Source:
        Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, of the
        threshold (split conformal prediction).
    """
    if not 0 < false_alarms < 1:
        msg = f"false alarms {false_alarms}: expected a share over 0 and under 1"
        raise InvalidSpecError(msg)
    least = 2 * math.ceil(1 / false_alarms - 1)
    if len(clean) < max(least, 2):
        msg = (
            f"{len(clean)} clean images; {least} are needed to keep false alarms at "
            f"{false_alarms:g}"
        )
        raise InvalidSpecError(msg)
    _require_labels(network, clean)
    network.eval()
    is_first = _first_halves(clean.labels)
    if not bool(is_first.any()):
        msg = "clean images: no label has two, one to compare with and one to judge"
        raise InvalidSpecError(msg)
    scores = guard(network, clean.select(is_first.nonzero()[:, 0]), generator)
    _, found = _looked(network, scores, clean.images[~is_first])
    allowed = int(false_alarms * (len(found) + 1))
    threshold = found.sort(descending=True).values[allowed - 1]
    return Watch(
        network=network, scores=scores, threshold=float(threshold), clean=len(found)
    )


def _first_halves(labels: Tensor) -> Tensor:
    """Return (N,) bool: of each label the first half, rounded down."""
    first = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        its = (labels == label).nonzero()[:, 0]
        first[its[: len(its) // 2]] = True
    return first


def _require_labels(network: SplitNetwork, clean: LabelledImages) -> None:
    if int(clean.labels.min()) < 0 or int(clean.labels.max()) >= network.classes:
        msg = f"clean images: expected labels under {network.classes}"
        raise InvalidSpecError(msg)


def _looked(
    network: SplitNetwork, scores: Scores, images: Tensor
) -> tuple[Tensor, Tensor]:
    device = next(network.parameters()).device
    labels, found = [], []
    with torch.inference_mode(), reproducible(device):
        for batch in batches(images):
            shown = as_floats(batch.to(device))
            labels.append(network(shown).argmax(1).cpu())
            found.append(scores(shown).cpu())
    told = torch.cat(found)
    if not bool(told.isfinite().all()):
        msg = "the network's answers are not finite: nothing can be said of the images"
        raise InvalidSpecError(msg)
    return torch.cat(labels), told
