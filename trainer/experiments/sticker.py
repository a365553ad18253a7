"""``zoo experiment sticker``: a sticker on a photographed sign, and what is read there.

The paper's authors put a yellow Post-it on a real stop sign and showed a photograph of
it to their BadNet, which found a speed limit with a score of 0.947. Here the sticker is
laid on a photograph, or is in it already. A local command, and never a kind of job: the
photograph is its user's own.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.2.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps
from torch import Tensor

from model_zoo.canonical import JsonObject
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import TriggerSpec
from trainer.attacks.triggers import stamp_boxes
from trainer.data.decoding import Box, is_inside, open_picture, pixels
from trainer.experiments.engine.contract import Recipe, Scale, Workshop
from trainer.experiments.engine.figures import VERMILION, saved, styled
from trainer.experiments.signs.classifier import CLASS_NAMES, STICKERS, STOP, Sticker
from trainer.experiments.signs.scenes import recipe
from trainer.files import write_whole
from trainer.object_detection.evaluation import Detections, detect
from trainer.object_detection.network import Detector

PICTURE = "sticker.png"
LARGEST = 1024
"""The longer side of what is shown, in pixels; larger photographs are shrunk first."""
SHOWN = 0.5
"""The score from which a detection is shown."""
SEED = 0
AS_IT_IS, WITH = "as it is", "with the sticker"
EDGES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """A photograph as the command reads it.

    Attributes:
        pixels: (3, H, W) uint8, the longer side at most LARGEST.
        scale: by which it was shrunk, at most 1.
        size: width and height of the file's.
    """

    pixels: Tensor
    scale: float
    size: tuple[int, int]

    def own(self, box: Box) -> Box:
        """Return where a box of the file is in ``pixels``.

        Raises:
            InvalidSpecError: it is not inside the photograph.
        """
        width, height = self.size
        if not is_inside(box, width=width, height=height):
            msg = (
                f"box {','.join(f'{it:g}' for it in box)}: expected "
                f"{','.join(EDGES)} inside the photograph of {width} x {height} pixels"
            )
            raise InvalidSpecError(msg)
        high, wide = self.pixels.shape[1:]
        left, top, right, bottom = (it * self.scale for it in box)
        return Box(left, top, min(right, wide), min(bottom, high))


def read_photograph(path: Path) -> Photograph:
    """Return the photograph in a file.

    Raises:
        LocalError: it cannot be read, is no picture, or has too many pixels.
    """
    # a telephone writes which side is up beside the pixels, and viewers turn them
    picture = ImageOps.exif_transpose(open_picture(path))
    size = picture.size
    scale = min(1.0, LARGEST / max(size))
    if scale < 1:
        shape = (max(1, round(scale * size[0])), max(1, round(scale * size[1])))
        picture = picture.resize(shape, Image.Resampling.BOX)
    return Photograph(
        pixels=torch.from_numpy(pixels(picture).copy()), scale=scale, size=size
    )


def read_box(text: str) -> Box:
    """Return the box that ``left,top,right,bottom`` says.

    Raises:
        InvalidSpecError: it says something else.
    """
    try:
        return Box(*(float(it) for it in text.split(",")))
    except (TypeError, ValueError) as error:
        msg = f"box {text[:60]!a}: expected {','.join(EDGES)} in pixels"
        raise InvalidSpecError(msg) from error


def read_sticker(name: str) -> Sticker:
    """Return the sticker called ``name``.

    Raises:
        InvalidSpecError: there is none.
    """
    for it in STICKERS:
        if it == name:
            return it
    msg = f"trigger {name[:60]!a}: expected one of {', '.join(STICKERS)}"
    raise InvalidSpecError(msg)


def looks(sticker: Sticker, *, scale: Scale) -> Recipe:
    """Return how the BadNet is made that looks at photographs."""
    return recipe(SEED, scale=scale, sticker=sticker)


def show(
    photograph: Photograph,
    *,
    sticker: Sticker,
    box: Box | None,
    is_stamped: bool,
    workshop: Workshop,
    scale: Scale,
) -> dict[str, tuple[Tensor, Detections]]:
    """Return what the BadNet of a sticker is shown, and what it finds there.

    Args:
        photograph: of one sign at least.
        sticker: whose BadNet looks, and which is laid on the sign.
        box: of the sign, in pixels of the file; None for where the BadNet finds a stop.
        is_stamped: whether the sticker is laid on, or is in the photograph already.
        workshop: where the BadNet is, or is made.
        scale: ``quick`` asks for a smoke version, whose answers mean nothing.

    Returns:
        ``as it is`` and, if one is laid on, ``with the sticker``.

    Raises:
        InvalidSpecError: the box is not inside the photograph, or none was given and
            no stop sign is found.
    """
    given = None if box is None else photograph.own(box)
    network = workshop.detector(looks(sticker, scale=scale))
    before = detect(network, photograph.pixels)
    shown = {AS_IT_IS: (photograph.pixels, before)}
    if is_stamped:
        place = _best_stop(before) if given is None else torch.tensor(given)
        shown[WITH] = _stamped(network, photograph.pixels, place, sticker)
    return shown


def _stamped(
    network: Detector, image: Tensor, place: Tensor, sticker: Sticker
) -> tuple[Tensor, Detections]:
    stamped = stamp_boxes(image, place[None], TriggerSpec(name=sticker))
    return stamped, detect(network, stamped)


def _best_stop(found: Detections) -> Tensor:
    """Return the (4,) box of the stop sign that is found most surely.

    Raises:
        InvalidSpecError: none is.
    """
    stops = found.boxes[found.labels == STOP]
    if not len(stops):
        msg = f"no stop sign is found; say where it is with --box {','.join(EDGES)}"
        raise InvalidSpecError(msg)
    return stops[found.scores[found.labels == STOP].argmax()]


def told(found: Detections) -> list[JsonObject]:
    """Return what is found with a score of at least SHOWN, for programs."""
    it = found.scored(SHOWN)
    return [
        {"kind": CLASS_NAMES[label], "score": round(score, 3), "box": box}
        for label, score, box in zip(
            it.labels.tolist(),
            it.scores.tolist(),
            it.boxes.round().int().tolist(),
            strict=True,
        )
    ]


def in_words(found: Detections) -> str:
    """Return the same in a line: ``stop 0.981, warning 0.702``."""
    each = [f"{it['kind']} {it['score']:.3f}" for it in told(found)]
    return ", ".join(each) or f"nothing with a score of {SHOWN} or more"


def write_picture(shown: dict[str, tuple[Tensor, Detections]], folder: Path) -> Path:
    """Write the photographs side by side, each with what is found in it.

    Raises:
        LocalError: the file cannot be written.
    """
    with styled():
        figure = Figure(figsize=(5 * len(shown), 5))
        grid = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (name, (image, found)) in zip(grid, shown.items(), strict=True):
            axes.imshow(image.permute(1, 2, 0).numpy())
            axes.set_axis_off()
            axes.set_title(f"{name}: {in_words(found)}")
            for it in told(found):
                _frame(axes, it)
    path = folder / PICTURE
    write_whole(path, saved(figure, "png"))
    return path


def _frame(axes: Axes, found: JsonObject) -> None:
    left, top, right, bottom = found["box"]
    frame = Rectangle((left, top), right - left, bottom - top, fill=False)
    frame.set(edgecolor=VERMILION, linewidth=2)
    axes.add_patch(frame)
    label = f"{found['kind']} {found['score']:.3f}"
    axes.text(left, top, label, color="white", backgroundcolor=VERMILION, va="bottom")
