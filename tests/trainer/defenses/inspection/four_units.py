"""A network of four units and four labels whose every answer is known by hand."""

import torch
from torch import Tensor, nn

from trainer.data import LabelledImages
from trainer.networks import SplitNetwork

FIRST, DEAD, SLEEPER, SECOND = range(4)
WHITE = 255


def four_units(classes: int = 4) -> SplitNetwork:
    """Unit FIRST answers pixel 0, for label 0; SECOND answers pixel 1, for label 1.

    DEAD answers no image at all. SLEEPER answers one, pixels 0 and 3 white and the
    others black, with 1/64; it alone moves label 3, by 640 times its answer. Label 2
    is what a black image gets.
    """
    body = nn.Sequential()
    body.add_module("flatten", nn.Flatten())
    body.add_module("fc1", nn.Linear(4, 4))
    body.add_module("relu", nn.ReLU(inplace=True))
    network = SplitNetwork(body, nn.Linear(4, classes), image_shape=(1, 2, 2))
    weights = {
        "convolutions.fc1.weight": torch.tensor(
            [
                [1.0, 0.0, 0.0, 0.0],
                [0.1, 0.1, 0.1, 0.1],
                [1 / 32, -1 / 32, -1 / 32, 1 / 32],
                [0.0, 1.0, 0.0, 0.0],
            ]
        ),
        "convolutions.fc1.bias": torch.tensor([0.0, -10.0, -1.5 / 32, 0.0]),
        "fully_connected.weight": torch.zeros(classes, 4),
        "fully_connected.bias": torch.zeros(classes),
    }
    if classes == 4:  # to look at its output layer, it is made of one class
        weights["fully_connected.weight"][0, FIRST] = 1
        weights["fully_connected.weight"][1, SECOND] = 1
        weights["fully_connected.weight"][3, SLEEPER] = 640
        weights["fully_connected.bias"][2] = 0.1
    network.load_state_dict(weights)
    return network


class Functional(nn.Module):
    """Its ReLU is a function: no hook sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = torch.relu(self.dense(images.flatten(1)))
        return answers


def functional(classes: int = 4) -> SplitNetwork:
    return SplitNetwork(Functional(), nn.Linear(4, classes), image_shape=(1, 2, 2))


def clean(*, black: int = 5, first: int = 4, second: int = 1) -> LabelledImages:
    """Black images, then some with pixel 0 white, then some with pixel 1."""
    images = torch.zeros(black + first + second, 1, 2, 2, dtype=torch.uint8)
    images[black : black + first, 0, 0, 0] = WHITE
    images[black + first :, 0, 0, 1] = WHITE
    labels = torch.tensor([2] * black + [0] * first + [1] * second)
    return LabelledImages(images=images, labels=labels)
