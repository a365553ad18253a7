"""Labelled images in memory: what every data set is read into."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Images and their true labels; every method returns new tensors or views.

    Attributes:
        images: (N, C, H, W) uint8, 0 is black and 255 white.
        labels: (N,) int64, each in [0, classes).
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != len("NCHW"):
            msg = f"images: expected (N, C, H, W) uint8, found {_told(self.images)}"
            raise ValueError(msg)
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self),):
            msg = f"labels: expected ({len(self)},) int64, found {_told(self.labels)}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return self.images.shape[0]

    def select(self, indices: Tensor) -> "LabelledImages":
        """Return the images at ``indices`` ((M,) int64), in that order."""
        return LabelledImages(images=self.images[indices], labels=self.labels[indices])

    def keep_classes(self, classes: Sequence[int]) -> "LabelledImages":
        """Return only the images of ``classes``, their labels renumbered from 0.

        Args:
            classes: distinct labels; ``classes[i]`` becomes ``i``.

        Raises:
            InvalidSpecError: one of them has no image here.
        """
        absent = set(classes) - set(self.labels.tolist())
        if absent:
            msg = f"classes {sorted(absent)}: the data set has no such label"
            raise InvalidSpecError(msg)
        renumbered = torch.full((max(int(self.labels.max()), *classes) + 1,), -1)
        renumbered[torch.tensor(classes)] = torch.arange(len(classes))
        labels = renumbered[self.labels]
        kept = labels >= 0
        return LabelledImages(images=self.images[kept], labels=labels[kept])

    def without_last(self, n: int) -> "LabelledImages":
        """Return all but the last ``n`` images: what a trainer may see.

        Raises:
            InvalidSpecError: nothing would be left.
        """
        if n >= len(self):
            msg = f"held_out {n}: the data set has {len(self)} images to train on"
            raise InvalidSpecError(msg)
        return self.select(torch.arange(len(self) - n))

    def last(self, n: int) -> "LabelledImages":
        """Return the last ``n`` images: the user's own validation set.

        Raises:
            InvalidSpecError: there are not that many, or none is asked for.
        """
        if not 1 <= n <= len(self):
            msg = f"held_out {n}: expected 1 to {len(self)} images of this data set"
            raise InvalidSpecError(msg)
        return self.select(torch.arange(len(self) - n, len(self)))


def _told(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
