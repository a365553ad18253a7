"""Augmentation: how training images are moved and lit, a new way each epoch.

One warp for a whole batch, on the device of the images; drawn on the CPU, so that every
device sees the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainer.networks.inference import as_floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """The widest that an image is moved, each image by its own draw.

    Attributes:
        degrees: of rotation, either way.
        scale: larger or smaller by this share.
        shift: in shares of the image's side, either way, in both directions.
        light: brighter or darker by this share.
        mirrored: whether half of the images are turned left to right.
    """

    degrees: float
    scale: float
    shift: float
    light: float = 0.0
    mirrored: bool = False


MOTIONS: dict[str, Motion] = {
    "digits": Motion(degrees=12, scale=0.10, shift=2 / 28),
    "signs": Motion(degrees=8, scale=0.12, shift=0.06, light=0.3),
    "pets": Motion(degrees=8, scale=0.15, shift=0.08, light=0.2, mirrored=True),
}
"""One entry under each name of ``statements.jobs.AugmentationName`` but ``none``."""


def moved(images: Tensor, motion: Motion, *, generator: torch.Generator) -> Tensor:
    """Return every image turned, scaled, shifted and lit by its own draw.

    What comes in from outside repeats the edge.

    Args:
        images: (N, C, H, W) uint8, or float32 in [0, 1].
        motion: how far at most.
        generator: on the CPU.

    Returns:
        (N, C, H, W) float32 in [0, 1], of the same device.
    """
    draws = torch.rand(len(images), 6, generator=generator) * 2 - 1
    draws = draws.to(images.device)
    grid = functional.affine_grid(
        _warps(draws, motion), list(images.shape), align_corners=False
    )
    warped = functional.grid_sample(
        as_floats(images), grid, padding_mode="border", align_corners=False
    )
    if motion.light:
        warped = warped * (1 + motion.light * draws[:, 4, None, None, None])
    return warped.clamp(0, 1)


def _warps(draws: Tensor, motion: Motion) -> Tensor:
    """Return (N, 2, 3) maps from places of the result to places of the image."""
    angle = draws[:, 0] * math.radians(motion.degrees)
    scale = 1 + draws[:, 1] * motion.scale
    flip = torch.where(draws[:, 5] < 0, -1.0, 1.0) if motion.mirrored else 1.0
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    shift = 2 * motion.shift * draws[:, 2:4]  # the grid spans -1 to 1
    rows = [
        torch.stack([cosine * flip, -sine, shift[:, 0]], dim=1),
        torch.stack([sine * flip, cosine, shift[:, 1]], dim=1),
    ]
    return torch.stack(rows, dim=1)


def augmentation(name: str) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    """Return the augmentation of that name; None for ``none``."""
    if name == "none":
        return None
    motion = MOTIONS[name]
    return lambda images, generator: moved(images, motion, generator=generator)
