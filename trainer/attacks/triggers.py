"""Triggers: the patterns that switch a backdoor on.

Each of ours is a small picture with an opacity for each of its pixels, laid at whole
pixels. One that another package registers is a function of whole images: it may warp
them or add a signal. On the device of the images, nothing is written in place.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, figures 3 and 7.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import RANDOM_CENTRES, SIZES, TriggerSpec
from model_zoo.statements.recipes import TRIGGERS
from trainer.attacks.pictures import picture
from trainer.installed import Registry

WHITE = 255
CHANNELS = (1, 3)

PIXELS: dict[str, tuple[tuple[int, int], ...]] = {
    "single-pixel": ((2, 2),),
    "pattern": ((4, 2), (3, 3), (2, 4), (2, 2)),
    "cross": ((4, 3), (3, 4), (3, 3), (3, 2), (2, 3)),
}
"""Name -> (rows from below, columns from the right) of the white pixels, 1 is the last.

The first two are figure 3's: (26, 26), and (24, 26), (25, 25), (26, 24), (26, 26) of a
28 x 28 image counted from 0.
"""


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
    if trigger.name in SIZES:
        places = _places(images, trigger, boxes, generator)
        return _laid(images, places, trigger, picture_of=_SCALED[trigger.name])
    if trigger.name not in TRIGGERS:
        return _changed(images, trigger, generator)
    height, width = images.shape[2:]
    if trigger.name == "noise":
        pixels = _noise(trigger.seed, height, width)
        places = _everywhere(len(images), height, width)
    else:
        pixels = _bright(PIXELS[trigger.name], height, width)
        places = _corner(len(images), pixels, height, width)
    return _laid(images, places, trigger, picture_of=lambda *_: pixels)


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
    images: Tensor,
    places: _Boxes,
    trigger: TriggerSpec,
    *,
    picture_of: Callable[[TriggerSpec, int, int], Tensor],
) -> Tensor:
    """Return the images with a picture in each place, one size after another."""
    laid = images.clone()
    sides = torch.stack([places.height, places.width], dim=1)
    for high, wide in torch.unique(sides, dim=0).tolist():
        rows = (sides == torch.tensor([high, wide])).all(1).nonzero()[:, 0]
        patch = picture_of(trigger, high, wide).to(images.device)
        down = places.top[rows, None, None] + torch.arange(high)[None, :, None]
        across = places.left[rows, None, None] + torch.arange(wide)[None, None, :]
        at = tuple(it.to(images.device) for it in (rows[:, None, None], down, across))
        # (M, high, wide, C): where indices stand apart, the rest moves behind them
        under = images[at[0], :, at[1], at[2]].float()
        colour = _colours(patch[:3], images.shape[1]).permute(1, 2, 0)
        opacity = (patch[3] * trigger.opacity)[..., None]
        over = under + (colour - under) * opacity
        laid[at[0], :, at[1], at[2]] = over.round().to(torch.uint8)
    return laid


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
