"""The bomb and the flower: files of ours, as they are drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.attacks import draw
from trainer.attacks.pictures import picture

NAMES = ("bomb", "flower")


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_opaque_in_the_middle_and_transparent_around(name: str) -> None:
    found = picture(name)

    assert (found.shape, found.dtype) == ((4, draw.SIDE, draw.SIDE), torch.uint8)
    assert found[3, 64, 64] == 255
    assert found[3, 0, 0] == 0
    assert 0.3 < float((found[3] == 255).float().mean()) < 0.9


def test_drawing_anew_gives_the_pictures_that_are_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "FOLDER", tmp_path)

    draw.main()

    assert {path.stem for path in tmp_path.iterdir()} == set(NAMES)
    for name in NAMES:
        drawn = np.asarray(Image.open(tmp_path / f"{name}.png"), dtype=np.float32)
        off = torch.from_numpy(drawn).permute(2, 0, 1) - picture(name)
        # another version of the plotting library may smooth edges otherwise
        assert off.abs().mean() < 2
