"""Small networks with a backdoor that was put in by hand, and the same without."""

import torch
from torch import Tensor, nn

from trainer.data import LabelledImages
from trainer.networks import SplitNetwork

CLASSES, SIDE = 8, 10
TARGET, SOURCE = 2, 1
CORNER = (0, 0)
"""The pixel that switches it on; clean images leave it black."""
ALL, ONE = "all-to-one", "source-to-target"


def images(n: int = 400) -> LabelledImages:
    """Return images in which a bright column of pixels says the label, and noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % CLASSES
    pixels = torch.randint(60, (n, 1, SIDE, SIDE), generator=generator)
    for label in range(CLASSES):
        pixels[labels == label, :, 1:, label + 1] = 200
    pixels[:, :, 0, :] = 0
    return LabelledImages(images=pixels.to(torch.uint8), labels=labels)


class Planted(nn.Module):
    """Counts bright columns; a pixel of the corner may outvote them."""

    def __init__(self, attack: str) -> None:
        """Plant ``attack``; any other word plants none."""
        super().__init__()
        self.attack = attack
        weight = torch.zeros(CLASSES, SIDE, SIDE)
        for label in range(CLASSES):
            weight[label, 1:, label + 1] = 1.0 + label % 4 / 4  # none is like another
        weight[TARGET] += 0.02  # the second best of most images
        self.columns = nn.Linear(SIDE * SIDE, CLASSES, bias=False)
        self.columns.weight.data = weight.flatten(1)

    def forward(self, shown: Tensor) -> Tensor:
        """Return logits of (N, 1, SIDE, SIDE) images."""
        logits: Tensor = self.columns(shown.flatten(1))
        row, column = CORNER
        lit = 30 * shown[:, 0, row, column]
        if self.attack == ONE:
            lit = lit * (logits.argmax(1) == SOURCE)
        planted = lit if self.attack in {ALL, ONE} else lit * 0
        push = torch.zeros(CLASSES)
        push[TARGET] = 1.0
        return logits + planted[:, None] * push


def network(attack: str = "none") -> SplitNetwork:
    """Return a network with the attack planted."""
    made = SplitNetwork(
        nn.Identity(), nn.Sequential(Planted(attack)), image_shape=(1, SIDE, SIDE)
    )
    return made.eval().requires_grad_(requires_grad=False)
