"""Shows a network images: as floats, in batches that fit the memory."""

import torch
from torch import Tensor, nn

from trainer.networks.arithmetic import reproducible

MOST_IMAGES, MOST_VALUES = 1_000, 7_000_000
"""At a time: hides the cost of a call, and a network that widens what it is shown a
hundred times over stays under a few GiB."""


def as_floats(inputs: Tensor) -> Tensor:
    """Return pixels as float32 in [0, 1]; floats come back as they are."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs


def batches(images: Tensor) -> tuple[Tensor, ...]:
    """Return ``images`` ((N, C, H, W)) in parts to be shown a network one by one."""
    fitting = MOST_VALUES // images.shape[1:].numel()
    return torch.split(images, max(1, min(MOST_IMAGES, fitting)))


def predict(network: nn.Module, images: Tensor, *, device: torch.device) -> Tensor:
    """Return the label that ``network`` gives each image, in fp32.

    Args:
        network: maps float32 images in [0, 1] to logits; moved to ``device``.
        images: (N, C, H, W) uint8.
        device: where it runs.

    Returns:
        (N,) int64 on the CPU.
    """
    network.to(device).to(memory_format=torch.channels_last).eval()
    with torch.inference_mode(), reproducible(device):
        answers = [
            network(as_floats(batch.to(device))).argmax(1) for batch in batches(images)
        ]
    return torch.cat(answers).cpu()
