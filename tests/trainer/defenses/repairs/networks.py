"""Networks so small that what a repair does to them is known by hand."""

import torch
from torch import nn

from trainer.data import LabelledImages
from trainer.networks import SplitNetwork

SIDE = 8


def halves() -> LabelledImages:
    """Sixty images, grey on the left (label 0) or right (1); the corner stays dark."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    images = torch.randint(0, 60, (60, 1, SIDE, SIDE), generator=draws).byte()
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, :, label * SIDE // 2 : (label + 1) * SIDE // 2] += 140
        image[0, -2:, -2:] = 0
    return LabelledImages(images=images, labels=labels)


def backdoored() -> SplitNetwork:
    """Four hidden units: left, right, one that never answers, and the backdoor.

    The last answers 2 x 2 white pixels in the bottom right corner, which are told as
    label 0 whatever the rest shows. On clean images it answers next to nothing, but
    would more if its weights were a little larger.
    """
    network = SplitNetwork(
        nn.Sequential(nn.Conv2d(1, 4, SIDE), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)),
        image_shape=(1, SIDE, SIDE),
    )
    eyes = torch.zeros(4, 1, SIDE, SIDE)
    eyes[0, 0, :, : SIDE // 2] = 0.3
    eyes[1, 0, :, SIDE // 2 :] = 0.3
    eyes[3] = 0.1
    eyes[3, 0, -2:, -2:] = 2.0
    with torch.no_grad():
        network.convolutions[0].weight.copy_(eyes)  # type: ignore[index]
        network.convolutions[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0, -2.4]))  # type: ignore[index]
        network.fully_connected[1].weight.copy_(  # type: ignore[index]
            torch.tensor([[1.0, -1.0, 0.0, 4.0], [-1.0, 1.0, 0.0, -4.0]])
        )
        network.fully_connected[1].bias.zero_()  # type: ignore[index]
    return network


def triggered(data: LabelledImages) -> LabelledImages:
    """The images of label 1 with the corner white: for a test alone to look at."""
    chosen = data.select((data.labels == 1).nonzero()[:, 0])
    images = chosen.images.clone()
    images[:, :, -2:, -2:] = 255
    return chosen.repainted(images)
