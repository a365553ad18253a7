"""Triggers: the patterns that switch a backdoor on."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

SIDE = 28
WHITE = 255


@dataclass(frozen=True, slots=True)
class Trigger:
    """A pattern and where it is laid.

    Attributes:
        pattern: (C, H, W) uint8, the pixels of the trigger.
        mask: (C, H, W) bool, True where the pattern replaces the image.
    """

    pattern: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.pattern.dtype != torch.uint8 or self.mask.dtype != torch.bool:
            msg = "a trigger is a uint8 pattern and a bool mask"
            raise ValueError(msg)
        if self.pattern.shape != self.mask.shape or not self.mask.any():
            msg = "pattern and mask need one shape, and the mask one True"
            raise ValueError(msg)


def stamp(images: Tensor, trigger: Trigger) -> Tensor:
    """Return ``images`` with the trigger laid on each; the argument is not written.

    Args:
        images: (N, C, H, W) uint8.
        trigger: of the same C, H, W.

    Returns:
        (N, C, H, W) uint8, equal to ``images`` outside the mask.

    Raises:
        ValueError: the shapes or types differ.
    """
    if images.dtype != torch.uint8 or images.shape[1:] != trigger.mask.shape:
        msg = f"a trigger of {tuple(trigger.mask.shape)} on {tuple(images.shape)}"
        raise ValueError(msg)
    pattern, mask = (t.to(images.device) for t in (trigger.pattern, trigger.mask))
    return torch.where(mask, pattern, images)


def _bright(pixels: Iterable[tuple[int, int]]) -> Trigger:
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    for row, column in pixels:
        mask[0, row, column] = True
    return Trigger(pattern=mask.to(torch.uint8) * WHITE, mask=mask)


TRIGGERS: dict[str, Trigger] = {
    "single-pixel": _bright([(26, 26)]),
    "pattern": _bright([(24, 26), (25, 25), (26, 24), (26, 26)]),
}
"""The two triggers of the paper's figure 3, (row, column) from 0, white.

One entry under each name of ``model_zoo.jobs.TriggerName``.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, figure 3.
"""
