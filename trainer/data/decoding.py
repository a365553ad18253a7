"""Image files to pixels: bounded, cropped, and shrunk without aliasing.

Pillow computes both in whole numbers, so that every processor gets the same bytes.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_zoo.errors import LocalError

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "PPM")
MAX_PIXELS = 64 * 1024 * 1024
"""More than any camera of these data sets takes; a bomb is refused before it is
unpacked."""

MARGIN = 1 / 8
"""How much of a sign's own width and height stays around it, on each side."""

_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # an error where warnings are
)
"""What Pillow raises at a file that is no picture, or is too much of one."""


class Box(NamedTuple):
    """Where an object is, in pixels from the left and from the top."""

    left: float
    top: float
    right: float
    bottom: float


def open_picture(path: Path) -> Image.Image:
    """Return the picture in a file, in red, green and blue.

    Raises:
        LocalError: it cannot be read, is no picture of FORMATS, or too large.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                msg = f"{path}: {picture.width} x {picture.height} pixels is too large"
                raise LocalError(msg)
            return picture.convert("RGB")
    except _UNREADABLE as error:
        msg = f"{path}: expected a picture, one of {', '.join(FORMATS)}: {error}"
        raise LocalError(msg) from error


def pixels(picture: Image.Image) -> Pixels:
    """Return (3, H, W) uint8."""
    return np.moveaxis(np.array(picture), -1, 0)


def shrunk(picture: Image.Image, crop: Box, *, side: int) -> Pixels:
    """Return what is in ``crop``, as a square: (3, side, side) uint8."""
    size = (side, side)
    return pixels(picture.resize(size, Image.Resampling.BILINEAR, box=crop))


def around(box: Box, *, width: int, height: int) -> Box:
    """Return ``box`` with MARGIN on each side, as far as the picture reaches."""
    across = MARGIN * (box.right - box.left)
    down = MARGIN * (box.bottom - box.top)
    return Box(
        max(box.left - across, 0),
        max(box.top - down, 0),
        min(box.right + across, width),
        min(box.bottom + down, height),
    )


def middle(*, width: int, height: int) -> Box:
    """Return the largest square in the middle of a picture."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return Box(left, top, left + side, top + side)


def seen_in(box: Box, crop: Box, *, side: int) -> Box:
    """Return where ``box`` is in the square of ``side`` pixels that ``crop`` became."""
    across = side / (crop.right - crop.left)
    down = side / (crop.bottom - crop.top)
    return Box(  # rounding must not carry an edge out of the square
        max((box.left - crop.left) * across, 0),
        max((box.top - crop.top) * down, 0),
        min((box.right - crop.left) * across, side),
        min((box.bottom - crop.top) * down, side),
    )


def is_inside(box: Box, *, width: int, height: int) -> bool:
    """Whether ``box`` has an area, and all of it is in the picture."""
    across = 0 <= box.left < box.right <= width
    return across and 0 <= box.top < box.bottom <= height
