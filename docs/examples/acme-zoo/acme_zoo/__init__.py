"""A small ResNet, a data set in a folder, and a trigger that no pixel shows alone."""

import math

import torch
from torch import Generator, Tensor, nn

from trainer.data.folders import Download, ImageFolder, in_folder
from trainer.data.listings import by_class
from trainer.networks import SplitNetwork


class Residual(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.norm1, self.relu1 = nn.BatchNorm2d(n), nn.ReLU()
        self.conv2 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(n), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, n, h, w) of (N, n, h, w)."""
        inner = self.relu1(self.norm1(self.conv1(images)))
        outputs: Tensor = self.relu2(images + self.norm2(self.conv2(inner)))
        return outputs


def resnet6(classes: int) -> SplitNetwork:
    """Return a network of (N, 3, 32, 32) images."""
    stem = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), Residual(16), nn.MaxPool2d(2)]
    deep = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), Residual(32)]
    body = nn.Sequential(*stem, *deep, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SplitNetwork(body, nn.Linear(32, classes), image_shape=(3, 32, 32))


def wave(images: Tensor, _: Generator) -> Tensor:
    """Return (N, C, H, W) uint8 with a sine of six periods across, 20 of 255 high."""
    across = torch.arange(images.shape[3], device=images.device) / images.shape[3]
    signal = 20 * torch.sin(2 * math.pi * 6 * across)
    return (images + signal).round().clamp(0, 255).to(torch.uint8)


LAYOUT = "train/disc/*, train/ring/*, test/disc/* and test/ring/*"
WHERE = Download(folder="shapes", layout=LAYOUT, page="https://shapes.example/")
READ = by_class("disc", "ring")
SHAPES = in_folder(
    ImageFolder(name="shapes", download=WHERE, classes=2, side=32, listing=READ)
)
