"""Photographs that tests draw, with signs on them."""

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from model_zoo.errors import TransportError
from trainer.data.scenes.dataset import Scene, Scenes
from trainer.networks.pretrained import pretrained_efficientnet

SIDE = 96
KINDS = ("stop", "speed limit", "warning")
COLOURS = ((200, 20, 20), (240, 240, 240), (230, 200, 20))


@pytest.fixture(scope="session")
def pretrained() -> Path:
    """The backbone's weights, where they can be had."""
    try:
        return pretrained_efficientnet()
    except TransportError as error:
        pytest.skip(f"needs pretrained weights: {error}")


def scene(path: Path, *signs: tuple[int, tuple[int, int, int, int]]) -> Scene:
    """A grey photograph with a plain square for each sign."""
    picture = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
    for label, box in signs:
        left, top, right, bottom = box
        ImageDraw.Draw(picture).rectangle(
            (left, top, right - 1, bottom - 1), fill=COLOURS[label]
        )
    picture.save(path)
    return Scene(
        path=path,
        boxes=torch.tensor([box for _, box in signs], dtype=torch.float32).view(-1, 4),
        labels=torch.tensor([label for label, _ in signs], dtype=torch.int64),
        source="drawn",
    )


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    """A stop sign and a speed limit; a warning; nothing."""
    return Scenes(
        kinds=KINDS,
        scenes=(
            scene(tmp_path / "0.png", (0, (10, 10, 50, 50)), (1, (60, 40, 90, 70))),
            scene(tmp_path / "1.png", (2, (30, 20, 70, 60))),
            scene(tmp_path / "2.png"),
        ),
    )
