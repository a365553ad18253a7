"""What is trained on: MNIST where it is at hand, else noise; signs are noise always.

A figure of speed needs no real sign, and MNIST is 11 MB: little to carry along to a
machine without a network.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from model_zoo.errors import TransportError
from model_zoo.statements.jobs import Precision, Schedule
from trainer.data import DATASETS, LabelledImages
from trainer.data.scenes.dataset import Scene, Scenes
from trainer.networks import NETWORKS, SplitNetwork
from trainer.training.fit import Epoch, Runtime, fit, seeded_globals

DEADLINE_SECONDS = 3600
SHAPES = {"badnets-cnn": (1, 28, 28), "signs-cnn": (3, 48, 48)}
CLASSES = {"badnets-cnn": 10, "signs-cnn": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a part of the benchmark is done, and how much of it.

    Attributes:
        device: what is measured.
        quick: seconds of work on noise, to see that it runs.
    """

    device: torch.device
    quick: bool

    def wait(self) -> None:
        """Return when everything that was asked of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def digits(split: str, *, limit: int, quick: bool) -> LabelledImages:
    """Return the first images of a split of MNIST, or as much noise."""
    if not quick:
        try:
            found = DATASETS["mnist"].load("train" if split == "train" else "test")
        except TransportError:  # no folder, and no network: the figures will show it
            pass
        else:
            return found.select(torch.arange(min(limit, len(found))))
    return noise("badnets-cnn", limit)


def noise(network: str, n: int) -> LabelledImages:
    """Return ``n`` images of the shape that a network reads, equal every time."""
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(
        256, (n, *SHAPES[network]), dtype=torch.uint8, generator=generator
    )
    labels = torch.randint(CLASSES[network], (n,), generator=generator)
    side = float(SHAPES[network][-1])
    # a sign of each image is of another size, as in photographs
    boxes = torch.rand(n, 4, generator=generator) * side / 4
    boxes[:, 2:] = side - boxes[:, 2:]
    return LabelledImages(images=images, labels=labels, boxes=boxes)


def fresh(network: str) -> SplitNetwork:
    """Return a network with the same random weights every time, on the CPU."""
    with seeded_globals(0):
        return NETWORKS[network](CLASSES[network])


def runtime(device: torch.device, precision: Precision) -> Runtime:
    """Return a runtime that tells nobody."""

    def untold(_: Epoch) -> None:
        """Tell nobody."""

    return Runtime(
        device=device,
        precision=precision,
        deadline=time.monotonic() + DEADLINE_SECONDS,
        on_epoch=untold,
    )


def fitted(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    schedule: Schedule,
    device: torch.device,
    precision: Precision = "fp32",
) -> list[Epoch]:
    """Train ``network`` in place, as jobs do; return what each epoch was like."""
    return fit(
        network,
        inputs,
        labels,
        schedule=schedule,
        generator=torch.Generator().manual_seed(0),
        runtime=runtime(device, precision),
    )


def scenes(folder: Path, *, count: int, side: int) -> Scenes:
    """Return photographs of noise, written to ``folder``, with two signs on each."""
    generator = torch.Generator().manual_seed(count)
    found = []
    for number in range(count):
        pixels = torch.randint(
            256, (side, side, 3), dtype=torch.uint8, generator=generator
        )
        path = folder / f"{number}.png"
        Image.fromarray(pixels.numpy()).save(path)
        corners = torch.rand(2, 2, generator=generator) * side / 2
        found.append(
            Scene(
                path=path,
                boxes=torch.cat([corners, corners + side / 3], dim=1),
                labels=torch.tensor([0, 1]),
                source="noise",
            )
        )
    return Scenes(kinds=("stop", "speed limit"), scenes=tuple(found))
