"""Signals: triggers that change a whole image a little, and cover none of it."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from model_zoo.statements.jobs import TriggerSpec
from trainer.networks.inference import as_floats

WAVES = 6
"""Across an image: the frequency of Barni et al., section 4."""
GRID = 4
"""Both ways, of the field that bends an image: k of Nguyen and Tran, section 3.2."""
BEND = 0.5
"""How far it bends at the grid's points, in 2 / side on average: their s."""


def add_sine(images: Tensor, trigger: TriggerSpec) -> Tensor:
    """Return ``images`` plus a wave across them, of the trigger's opacity.

    Args:
        images: (N, C, H, W) uint8.
        trigger: its opacity is the amplitude, in shares of white.

    Source:
        Barni, Kallas, Tondi, "A New Backdoor Attack in CNNs by Training Set
        Corruption Without Label Poisoning", ICIP 2019, equation 1.
    """
    width = images.shape[3]
    across = torch.arange(width, device=images.device)
    wave = trigger.opacity * torch.sin(math.tau * WAVES * across / width)
    return _as_pixels(as_floats(images) + wave)


def bend(images: Tensor, trigger: TriggerSpec) -> Tensor:
    """Return ``images`` bent by the smooth field that the trigger's seed draws.

    Args:
        images: (N, C, H, W) uint8.
        trigger: its opacity is that of the bent image over the straight one.

    Source:
        Nguyen, Tran, "WaNet: Imperceptible Warping-based Backdoor Attack", ICLR 2021,
        section 3.2.
    """
    height, width = images.shape[2:]
    generator = torch.Generator().manual_seed(trigger.seed)
    field = torch.rand(1, 2, GRID, GRID, generator=generator) * 2 - 1
    field /= field.abs().mean()
    smooth = functional.interpolate(
        field, (height, width), mode="bicubic", align_corners=True
    )
    straight = functional.affine_grid(
        torch.eye(2, 3)[None], [1, 1, height, width], align_corners=True
    )
    grid = straight + BEND * smooth.movedim(1, 3) / height
    grid = grid.clamp(-1, 1).to(images.device).expand(len(images), -1, -1, -1)
    under = as_floats(images)
    bent = functional.grid_sample(under, grid, align_corners=True)
    return _as_pixels(under + (bent - under) * trigger.opacity)


def _as_pixels(floats: Tensor) -> Tensor:
    return floats.clamp(0, 1).mul(255).round().to(torch.uint8)
