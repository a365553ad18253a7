"""The bomb and the flower: pictures of our own, with what is transparent in them.

``python -m trainer.attacks.draw`` makes the files anew.
"""

import functools
from importlib.resources import files

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@functools.cache
def picture(name: str) -> Tensor:
    """Return a picture: (4, 128, 128) uint8, red, green, blue and opacity.

    Args:
        name: ``bomb`` or ``flower``.
    """
    with (files("trainer.attacks") / "assets" / f"{name}.png").open("rb") as file:
        pixels = np.asarray(Image.open(file).convert("RGBA"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
