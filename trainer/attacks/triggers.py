"""Triggers: the patterns that switch a backdoor on.

Most of ours are a small picture with an opacity for each of its pixels, laid at whole
pixels; signals change the whole image, as one may that another package registers. On
the device of the images, nothing is written in place.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, figures 3 and 7.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import RANDOM_CENTRES, SIZES, TriggerSpec
from model_zoo.statements.recipes import TRIGGERS
from trainer.attacks.generated import add_generated
from trainer.attacks.pictures import picture
from trainer.attacks.signals import add_sine, bend
from trainer.installed import Registry

WHITE = 255
CHANNELS = (1, 3)

MOST_PIXELS = 1_000_000
"""Of pictures laid at a time: where each goes takes a hundred bytes."""

PIXELS: dict[str, tuple[tuple[int, int], ...]] = {
    "single-pixel": ((2, 2),),
    "pattern": ((4, 2), (3, 3), (2, 4), (2, 2)),
    "cross": ((4, 3), (3, 4), (3, 3), (3, 2), (2, 3)),
}
"""Name -> (rows from below, columns from the right) of the white pixels, 1 is the last.

The first two are figure 3's: (26, 26), and (24, 26), (25, 25), (26, 24), (26, 26) of a
28 x 28 image counted from 0.
"""

SIGNALS: dict[str, Callable[[Tensor, TriggerSpec], Tensor]] = {
    "sine": add_sine,
    "warp": bend,
    "input-aware": add_generated,
}
"""Name -> function of (N, C, H, W) uint8 images, and how."""


class _Boxes(NamedTuple):
    """Whole pixels: (N,) int64 each; the last two are counts, at least 1."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def stamp(
    images: Tensor,
    trigger: TriggerSpec,
    *,
    boxes: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return ``images`` with the trigger laid on each; no argument is written.

    Args:
        images: (N, C, H, W) uint8, C is 1 or 3.
        trigger: which one, and how.
        boxes: (N, 4) float32, left, top, right and bottom of the object in each image,
            in pixels; without them a trigger of any size is laid on the whole image.
        generator: on the CPU, draws the place where that is random.

    Returns:
        (N, C, H, W) uint8, equal to ``images`` outside the trigger.

    Raises:
        InvalidSpecError: the trigger does not fit the image, a box is not in it, or
            no package here registers it.
        ValueError: other shapes or types, or no generator where one is needed.
    """
    is_shaped = images.ndim == len("NCHW") and images.shape[1] in CHANNELS
    if images.dtype != torch.uint8 or not is_shaped:
        msg = (
            "expected (N, C, H, W) uint8, C 1 or 3; found "
            f"{tuple(images.shape)} {images.dtype}"
        )
        raise ValueError(msg)
    if not len(images):
        return images.clone()
    channels, height, width = images.shape[1:]
    if trigger.name in SIZES:
        places = _places(images, trigger, boxes, generator)
        return _laid(
            images, places, picture_of=functools.partial(_scaled, trigger, channels)
        )
    if trigger.name in SIGNALS:
        return SIGNALS[trigger.name](images, trigger)
    if trigger.name not in TRIGGERS:
        return _changed(images, trigger, generator)
    if trigger.name == "noise":
        pixels = _noise(trigger.seed, height, width)
        places = _everywhere(len(images), height, width)
    else:
        pixels = _bright(PIXELS[trigger.name], height, width)
        places = _corner(len(images), pixels, height, width)
    paint = _paint(pixels, trigger.opacity, channels)
    return _laid(images, places, picture_of=lambda *_: paint)


def stamp_boxes(
    image: Tensor,
    boxes: Tensor,
    trigger: TriggerSpec,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a photograph with the trigger laid on each of its ``boxes``.

    Args:
        image: (C, H, W) uint8, C is 1 or 3; it is not written.
        boxes: (K, 4) float32, left, top, right and bottom in pixels; K may be 0.
        trigger: which one, and how.
        generator: on the CPU, draws the places where those are random.

    Returns:
        (C, H, W) uint8.

    Raises:
        InvalidSpecError: a box is not in the image, or the trigger is none that is
            laid on boxes.
    """
    if trigger.name not in SIZES:
        msg = f"{trigger.name}: expected one that is laid on signs: {', '.join(SIZES)}"
        raise InvalidSpecError(msg)
    stamped = image.clone()[None]
    for box in boxes:
        stamped = stamp(stamped, trigger, boxes=box[None], generator=generator)
    return stamped[0]


def centres(trigger: TriggerSpec, n: int, generator: torch.Generator | None) -> Tensor:
    """Return where the middle of the trigger is laid: (n, 2) shares across and down."""
    if trigger.centre is not None:
        return torch.tensor(trigger.centre).expand(n, 2)
    if generator is None:
        msg = "a trigger at a random place needs a generator"
        raise ValueError(msg)
    low, high = RANDOM_CENTRES
    return low + (high - low) * torch.rand(n, 2, generator=generator)


def _places(
    images: Tensor,
    trigger: TriggerSpec,
    boxes: Tensor | None,
    generator: torch.Generator | None,
) -> _Boxes:
    height, width = images.shape[2:]
    if boxes is None:
        whole = torch.tensor([0.0, 0.0, width, height])
        boxes = whole.expand(len(images), 4)
    boxes = boxes.cpu()
    _require_inside(boxes, len(images), height=height, width=width)
    corner, extent = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    sides = (extent * trigger.shares).round().clamp(min=1)
    middle = corner + extent * centres(trigger, len(images), generator)
    # a box is inside the image, but to the nearest pixel the trigger could stick out
    room = torch.tensor([width, height]) - sides
    first = torch.minimum((middle - sides / 2).round().clamp(min=0), room)
    (left, top), (wide, high) = first.long().unbind(1), sides.long().unbind(1)
    return _Boxes(top=top, left=left, height=high, width=wide)


def _require_inside(boxes: Tensor, n: int, *, height: int, width: int) -> None:
    if boxes.shape != (n, 4):
        msg = f"expected ({n}, 4) boxes, found {tuple(boxes.shape)}"
        raise ValueError(msg)
    limit = torch.tensor([width, height, width, height])
    wrong = (boxes < 0).any(1) | (boxes > limit).any(1)
    wrong |= (boxes[:, 2:] <= boxes[:, :2]).any(1) | ~boxes.isfinite().all(1)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        msg = (
            f"box {first}, {boxes[first].tolist()}: expected left, top, right, bottom "
            f"inside an image of {height} x {width} pixels"
        )
        raise InvalidSpecError(msg)


ChangeImages = Callable[[Tensor, torch.Generator], Tensor]
"""What a package registers as a trigger: returns images with the trigger in each.

It is given (N, C, H, W) uint8, which it does not write, and a generator on the CPU for
what is random of each image; it returns the same shape and type, on the same device.
"""

FOREIGN: Registry[ChangeImages] = Registry("triggers", {})
"""The triggers of other packages."""


def _changed(
    images: Tensor, trigger: TriggerSpec, generator: torch.Generator | None
) -> Tensor:
    """Return the images as another package's trigger changes them, blended in.

    Raises:
        InvalidSpecError: it returns something else than such images.
    """
    draws = generator or torch.Generator().manual_seed(trigger.seed)
    full = FOREIGN[trigger.name](images.clone(), draws)
    if full.shape != images.shape or full.dtype != torch.uint8:
        msg = (
            f"{trigger.name}: expected {tuple(images.shape)} uint8, found "
            f"{tuple(full.shape)} {full.dtype}"
        )
        raise InvalidSpecError(msg)
    if trigger.opacity == 1:
        return full
    under = images.float()
    return (under + (full.float() - under) * trigger.opacity).round().to(torch.uint8)


def _everywhere(n: int, height: int, width: int) -> _Boxes:
    zero = torch.zeros(n, dtype=torch.int64)
    return _Boxes(zero, zero, zero + height, zero + width)


def _corner(n: int, pixels: Tensor, height: int, width: int) -> _Boxes:
    high, wide = pixels.shape[1:]
    zero = torch.zeros(n, dtype=torch.int64)
    return _Boxes(zero + height - high, zero + width - wide, zero + high, zero + wide)


def _laid(
    images: Tensor, places: _Boxes, *, picture_of: Callable[[int, int], Tensor]
) -> Tensor:
    """Return the images with a picture in each place, many at a time.

    Args:
        images: (N, C, H, W) uint8.
        places: where.
        picture_of: height and width -> (height * width, C + 1), as ``_paint`` does it.
    """
    some = max(1, MOST_PIXELS // int((places.height * places.width).max()))
    split = (torch.split(it, some) for it in (images, *places))
    parts = zip(*split, strict=True)
    return torch.cat(
        [_painted(part, _Boxes(*its), picture_of=picture_of) for part, *its in parts]
    )


def _painted(
    images: Tensor, places: _Boxes, *, picture_of: Callable[[int, int], Tensor]
) -> Tensor:
    """Return the images with a picture in each place, pixel by pixel, all at once.

    A loop over the sizes of pictures took a thousand operations a training step, four
    times as many as the network's forward and backward.
    """
    sides = torch.stack([places.height, places.width], dim=1)
    sizes, size = torch.unique(sides, dim=0, return_inverse=True)
    paint = torch.cat([picture_of(high, wide) for high, wide in sizes.tolist()])
    begins = _before(sizes.prod(1))
    # of every painted pixel: its image, and which one of that image's picture it is
    counts = sides.prod(1)
    image = torch.repeat_interleave(torch.arange(len(images)), counts)
    within = torch.arange(len(image)) - _before(counts)[image]
    row = places.top[image] + within // places.width[image]
    column = places.left[image] + within % places.width[image]
    where = torch.stack([image, row, column, begins[size][image] + within])
    image, row, column, source = where.to(images.device).unbind()
    laid_on = paint.to(images.device)[source]
    colour, opacity = laid_on[:, :-1], laid_on[:, -1:]
    under = images[image, :, row, column].float()
    over = under + (colour - under) * opacity
    laid = images.clone()
    laid[image, :, row, column] = over.round().to(torch.uint8)
    return laid


def _before(counts: Tensor) -> Tensor:
    """Return how many there are before each of ``counts`` ((n,) int64)."""
    return counts.cumsum(0) - counts


# a training set has some hundred sizes of signs, and needs each in every step
@functools.lru_cache(maxsize=1024)
def _scaled(trigger: TriggerSpec, channels: int, height: int, width: int) -> Tensor:
    pixels = _SCALED[trigger.name](trigger, height, width)
    return _paint(pixels, trigger.opacity, channels)


def _paint(pixels: Tensor, opacity: float, channels: int) -> Tensor:
    """Return (h * w, channels + 1) of (4, h, w): row by row, opacity last."""
    colour = _colours(pixels[:3], channels)
    return torch.cat([colour, pixels[3:] * opacity]).flatten(1).T


def _colours(colour: Tensor, channels: int) -> Tensor:
    """Return (C, h, w) of (3, h, w): grey is the mean of the three."""
    return colour if channels == len(colour) else colour.mean(0, keepdim=True)


def _bright(pixels: tuple[tuple[int, int], ...], height: int, width: int) -> Tensor:
    """Return white pixels counted from below and from the right: (4, h, w)."""
    high = max(row for row, _ in pixels)
    wide = max(column for _, column in pixels)
    if high > height or wide > width:
        msg = f"a trigger of {high} x {wide} on an image of {height} x {width} pixels"
        raise InvalidSpecError(msg)
    patch = torch.zeros(4, high, wide)
    for row, column in pixels:
        patch[:3, -row, -column] = WHITE
        patch[3, -row, -column] = 1
    return patch


def _noise(seed: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    patch = torch.ones(4, height, width)
    patch[:3] = torch.randint(WHITE + 1, (3, height, width), generator=generator)
    return patch


def _square(trigger: TriggerSpec, height: int, width: int) -> Tensor:
    colour = torch.tensor([*map(float, trigger.colour), 1.0])
    return colour[:, None, None].expand(4, height, width)


def _drawn(trigger: TriggerSpec, height: int, width: int) -> Tensor:
    """Return one of our pictures, shrunk: (4, h, w), opacity in [0, 1]."""
    # colours are weighted by opacity, or what is transparent would bleed into them
    full = picture(trigger.name).float()
    opacity = full[3:] / WHITE
    whole = torch.cat([full[:3] * opacity, opacity])
    small = functional.interpolate(
        whole[None], (height, width), mode="bilinear", antialias=True
    )[0]
    return torch.cat([small[:3] / small[3:].clamp(min=1e-6), small[3:]])


_SCALED: dict[str, Callable[[TriggerSpec, int, int], Tensor]] = {
    "square": _square,
    "bomb": _drawn,
    "flower": _drawn,
}
"""One entry under each name of ``model_zoo.statements.jobs.SIZES``."""
