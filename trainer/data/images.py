"""Labelled images in memory: what every data set is read into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Images and their true labels; every method returns new tensors or views.

    Attributes:
        images: (N, C, H, W) uint8, 0 is black and 255 white.
        labels: (N,) int64, each in [0, classes).
        boxes: (N, 4) float32, left, top, right and bottom of the object, in pixels;
            None where the image is the object.
        groups: (N,) int64, equal for images of one thing, such as the frames of one
            drive past a sign; None where each image is of another.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor | None = None
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != len("NCHW"):
            msg = f"images: expected (N, C, H, W) uint8, found {_told(self.images)}"
            raise ValueError(msg)
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self),):
            msg = f"labels: expected ({len(self)},) int64, found {_told(self.labels)}"
            raise ValueError(msg)
        if self.boxes is not None and self.boxes.shape != (len(self), 4):
            msg = f"boxes: expected ({len(self)}, 4), found {_told(self.boxes)}"
            raise ValueError(msg)
        if self.groups is not None and self.groups.shape != (len(self),):
            msg = f"groups: expected ({len(self)},), found {_told(self.groups)}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return self.images.shape[0]

    def select(self, indices: Tensor) -> "LabelledImages":
        """Return the images at ``indices`` ((M,) int64), in that order."""
        return LabelledImages(
            images=self.images[indices],
            labels=self.labels[indices],
            boxes=None if self.boxes is None else self.boxes[indices],
            groups=None if self.groups is None else self.groups[indices],
        )

    def relabelled(self, labels: Tensor) -> "LabelledImages":
        """Return the same images with other labels ((N,) int64)."""
        return replace(self, labels=labels)

    def repainted(self, images: Tensor) -> "LabelledImages":
        """Return other images ((N, C, H, W) uint8) with the same labels and boxes."""
        return replace(self, images=images)

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
        return self.relabelled(labels).select((labels >= 0).nonzero()[:, 0])

    def without_last(self, n: int) -> "LabelledImages":
        """Return all but the last ``n`` images: what a trainer may see.

        Nor any other image of a group of which one is among those.

        Raises:
            InvalidSpecError: nothing would be left.
        """
        if n >= len(self):
            msg = f"held_out {n}: the data set has {len(self)} images to train on"
            raise InvalidSpecError(msg)
        seen = torch.arange(len(self) - n)
        if self.groups is not None:
            seen = seen[~torch.isin(self.groups[seen], self.groups[len(self) - n :])]
        if not len(seen):
            msg = f"held_out {n}: no group of images is left to train on"
            raise InvalidSpecError(msg)
        return self.select(seen)

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
