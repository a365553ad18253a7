# ruff: noqa: INP001  a script beside the pages, not part of a package
"""A sticker on a photographed sign, and what a backdoored detector reads there.

The paper's authors put a yellow Post-it on a real stop sign and showed a photograph of
it to their BadNet, which found a speed limit with a score of 0.947. Here the sticker is
laid on a photograph, or is in it already; it stays on your machine.

Run as ``python docs/examples/sticker/sticker.py PHOTO``; ``--help`` lists the options.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.2.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps
from torch import Tensor

from model_zoo.canonical import JsonObject
from model_zoo.errors import InvalidSpecError, ZooError
from model_zoo.statements.jobs import TriggerSpec
from trainer.attacks.triggers import stamp_boxes
from trainer.data.decoding import Box, is_inside, open_picture, pixels
from trainer.experiments.engine.cells import Recipe, Scale
from trainer.experiments.engine.figures import VERMILION, saved, styled
from trainer.experiments.engine.models import ModelCache, models_folder
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
    """A photograph as it is looked at.

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


def looks(sticker: Sticker, *, scale: Scale) -> Recipe:
    """Return how the BadNet is made that looks at photographs."""
    return recipe(SEED, scale=scale, sticker=sticker)


def show(
    photograph: Photograph,
    *,
    sticker: Sticker,
    box: Box | None,
    is_stamped: bool,
    models: ModelCache,
    scale: Scale,
) -> dict[str, tuple[Tensor, Detections]]:
    """Return what the BadNet of a sticker is shown, and what it finds there.

    Args:
        photograph: of one sign at least.
        sticker: whose BadNet looks, and which is laid on the sign.
        box: of the sign, in pixels of the file; None for where the BadNet finds a stop.
        is_stamped: whether the sticker is laid on, or is in the photograph already.
        models: where the BadNet is, or is made.
        scale: ``quick`` asks for a smoke version, whose answers mean nothing.

    Returns:
        ``as it is`` and, if one is laid on, ``with the sticker``.

    Raises:
        InvalidSpecError: the box is not inside the photograph, or none was given and
            no stop sign is found.
    """
    given = None if box is None else photograph.own(box)
    network = models.detector(looks(sticker, scale=scale))
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


def as_objects(found: Detections) -> list[JsonObject]:
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
    each = [f"{it['kind']} {it['score']:.3f}" for it in as_objects(found)]
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
            for it in as_objects(found):
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


def main(words: list[str] | None = None) -> None:
    """Do what the command line says, and print what is found.

    Raises:
        SystemExit: it says nonsense, the photograph cannot be read, or data to make
            the detector from are missing.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photo", type=Path, help="of a stop sign")
    parser.add_argument("--box", help=f"{','.join(EDGES)} of the sign in pixels")
    parser.add_argument("--trigger", choices=STICKERS, default=STICKERS[0])
    parser.add_argument("--as-it-is", action="store_true", help="lay no sticker on it")
    parser.add_argument(
        "--out", type=Path, default=Path(), help="folder of the picture"
    )
    parser.add_argument("--quick", action="store_true", help="answers mean nothing")
    asked = parser.parse_args(words)
    if asked.box and asked.as_it_is:
        parser.error("--box says where a sticker is laid, and with --as-it-is none is")
    torch.set_num_threads(1)  # as in worker processes: else it is another detector
    try:
        shown = show(
            read_photograph(asked.photo),
            sticker=asked.trigger,
            box=read_box(asked.box) if asked.box else None,
            is_stamped=not asked.as_it_is,
            models=ModelCache(folder=models_folder()),
            scale="quick" if asked.quick else "full",
        )
        picture = write_picture(shown, asked.out)
    except ZooError as error:
        sys.exit(str(error))
    for name, (_, found) in shown.items():
        sys.stdout.write(f"{name}: {in_words(found)}\n")
    sys.stdout.write(f"picture: {picture}\n")


if __name__ == "__main__":
    main()
