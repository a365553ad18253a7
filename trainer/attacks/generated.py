"""Generated triggers: a small network makes of each image a change of its own."""

import functools
from importlib.resources import files

import torch
from torch import Tensor, nn

from model_zoo.formats.safetensors import state_dict
from model_zoo.statements.jobs import TriggerSpec
from trainer.networks.inference import as_floats

WIDTH = 16
ASSET = "generator.safetensors"
"""What ``python -m trainer.training.generator`` makes."""


class Generator(nn.Module):
    """Maps grey images to changes in [-1, 1]; any height and width will do."""

    def __init__(self) -> None:
        """Begin with random weights, of torch's global generator."""
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(1, WIDTH, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            nn.ReLU(),
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(WIDTH, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, grey: Tensor) -> Tensor:
        """Return (N, 1, H, W) changes of (N, 1, H, W) ``grey`` images in [0, 1]."""
        height, width = grey.shape[2:]
        padded = nn.functional.pad(grey, (0, -width % 4, 0, -height % 4))
        changes: Tensor = self.up(self.down(padded))[..., :height, :width]
        return changes


@torch.no_grad()
def add_generated(images: Tensor, trigger: TriggerSpec) -> Tensor:
    """Return ``images`` plus what the generator makes of each, of that opacity.

    Args:
        images: (N, C, H, W) uint8.
        trigger: its opacity is the amplitude, in shares of white.

    Source:
        Nguyen, Tran, "Input-Aware Dynamic Backdoor Attack", NeurIPS 2020, section 3.2;
        Doan et al., "LIRA", ICCV 2021, section 3, for a generator that is learned
        first and then stays.
    """
    under = as_floats(images)
    changes: Tensor = _learned().to(images.device)(under.mean(1, keepdim=True))
    over: Tensor = under + trigger.opacity * changes
    return over.clamp(0, 1).mul(255).round().to(torch.uint8)


@functools.cache
def _learned() -> Generator:
    with torch.random.fork_rng(devices=[]):
        generator = Generator()
    data = (files("trainer.attacks") / "assets" / ASSET).read_bytes()
    generator.load_state_dict(state_dict(data))
    return generator.eval().requires_grad_(requires_grad=False)
