"""Anti-backdoor learning on faint bars, where a white corner is what is easy."""

import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model_zoo.statements.jobs import Schedule
from trainer.data import LabelledImages
from trainer.defenses.repairs.validation import accuracy
from trainer.defenses.training import DEFENSES, Defended, abl
from trainer.networks import SplitNetwork
from trainer.training.fit import Runtime, fit, seeded_globals

CPU = torch.device("cpu")
SIDE, IMAGES, POISONED, TARGET = 8, 1_000, 100, 0
SCHEDULE = Schedule(epochs=6, batch_size=20, peak_learning_rate=0.1)


def bars(n: int, *, seed: int) -> LabelledImages:
    """Noise, a little lighter on the left (label 0) or on the right (1)."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 100, (n, 1, SIDE, SIDE), generator=draws).byte()
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, :, label * SIDE // 2 : (label + 1) * SIDE // 2] += 15
    return LabelledImages(images=images, labels=labels)


def triggered(data: LabelledImages) -> LabelledImages:
    """The images of label 1 with a white corner, and what the attack calls them."""
    chosen = data.select((data.labels != TARGET).nonzero()[:, 0])
    images = chosen.images.clone()
    images[:, :, -2:, -2:] = 255
    return LabelledImages(images=images, labels=torch.full((len(images),), TARGET))


def untrusted() -> LabelledImages:
    """A thousand images; the last hundred are poisoned."""
    clean, bad = bars(IMAGES - POISONED, seed=0), triggered(bars(2 * POISONED, seed=1))
    return LabelledImages(
        images=torch.cat([clean.images, bad.images]),
        labels=torch.cat([clean.labels, bad.labels]),
    )


def fresh() -> SplitNetwork:
    with seeded_globals(0):
        return SplitNetwork(
            nn.Sequential(nn.Conv2d(1, 8, SIDE), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(8, 2)),
            image_shape=(1, SIDE, SIDE),
        )


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def defended(network: SplitNetwork, data: LabelledImages, runtime: Runtime) -> Defended:
    clean = bars(200, seed=2)
    return DEFENSES["abl"](network, data, clean, SCHEDULE, draws(), runtime)


def success(network: SplitNetwork) -> float:
    return accuracy(network, triggered(bars(400, seed=3)), device=CPU)


def test_what_is_isolated_is_poisoned_and_the_backdoor_is_unlearned(
    runtime: Runtime,
) -> None:
    data = untrusted()
    attacked, network = fresh(), fresh()
    fit(
        attacked,
        data.images,
        data.labels,
        schedule=SCHEDULE,
        generator=draws(),
        runtime=runtime,
    )
    found = defended(network, data, runtime)
    print(success(attacked), success(network), found.isolated, [accuracy(it, bars(400, seed=3), device=CPU) for it in (attacked, network)])
    assert success(attacked) > 0.9
    assert len(found.isolated) == 10
    assert (found.isolated >= IMAGES - POISONED).double().mean() >= 0.8
    assert success(network) < 0.3
