"""Clean images that a repair sets aside, to choose what it must not learn."""

import torch

from model_zoo.errors import InvalidSpecError
from trainer.data.images import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.inference import predict

SHARE = 5
"""One clean image in so many is set aside."""


def set_aside(
    clean: LabelledImages, generator: torch.Generator
) -> tuple[LabelledImages, LabelledImages]:
    """Return the images to learn from, and those set aside; drawn.

    Raises:
        InvalidSpecError: there are too few to set one aside.
    """
    if len(clean) < SHARE:
        msg = f"held_out {len(clean)}: this repair needs {SHARE} clean images at least"
        raise InvalidSpecError(msg)
    order = torch.randperm(len(clean), generator=generator)
    count = len(clean) // SHARE
    return clean.select(order[count:]), clean.select(order[:count])


def accuracy(
    network: SplitNetwork, data: LabelledImages, *, device: torch.device
) -> float:
    """Return the share of ``data`` whose label ``network`` tells, in fp32."""
    right = predict(network, data.images, device=device) == data.labels
    return right.double().mean().item()
