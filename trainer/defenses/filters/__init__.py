"""Filters: a training set goes in, the images that are suspected come out."""

from typing import Protocol

import torch

from trainer.data.images import LabelledImages
from trainer.defenses.filters.activation_clustering import activation_clustering
from trainer.defenses.filters.classes import Filtered
from trainer.defenses.filters.spectral_signatures import spectral_signatures
from trainer.defenses.filters.spectre import spectre
from trainer.networks import SplitNetwork

__all__ = ["FILTERS", "Filter", "Filtered"]


class Filter(Protocol):
    """Looks at the images of each label, and writes nothing."""

    def __call__(
        self,
        network: SplitNetwork,
        training: LabelledImages,
        *,
        share: float,
        generator: torch.Generator,
    ) -> Filtered:
        """Return which images of ``training`` are suspected.

        Args:
            network: trained on ``training``.
            training: images with the labels they were trained with, right or wrong.
            share: of a label's images, as many as are expected to be poisoned at most.
            generator: on the CPU, draws.

        Raises:
            InvalidSpecError: ``share`` is not in (0, 0.5), there is no image, a label
                is not the network's, or activations are not finite.
        """


FILTERS: dict[str, Filter] = {
    "activation-clustering": activation_clustering,
    "spectral-signatures": spectral_signatures,
    "spectre": spectre,
}
