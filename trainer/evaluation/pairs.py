"""Clean images beside the same images with a trigger, and what a network answers."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

RED = "#c53030"
INCHES_A_COLUMN, INCHES = 1.15, 3.0


class Answers(NamedTuple):
    """An image's true label, and what is answered to it clean and triggered."""

    truth: int
    clean: int
    triggered: int


def side_by_side(
    clean: Tensor,
    triggered: Tensor,
    answers: Sequence[Answers] = (),
    *,
    title: str = "",
) -> Figure:
    """Return two rows of images: clean above, triggered below.

    Args:
        clean: (N, C, H, W) uint8, C is 1 or 3, N at least 1.
        triggered: the same images with the trigger laid on.
        answers: N, shown above the images, those that the trigger changed in red; or
            none.
        title: stands above all.
    """
    figure = Figure(figsize=(INCHES_A_COLUMN * len(clean), INCHES), layout="tight")
    grid = figure.subplots(2, len(clean), squeeze=False)
    for row, name, images in zip(
        grid, ("clean", "triggered"), (clean, triggered), strict=True
    ):
        for axes, image in zip(row, images, strict=True):
            _show(axes, image)
        row[0].set_ylabel(name)
    for above, below, answer in zip(*grid, answers, strict=False):
        above.set_title(f"true {answer.truth}, says {answer.clean}", fontsize=8)
        changed = answer.triggered != answer.clean
        colour = RED if changed else "black"
        below.set_title(f"says {answer.triggered}", fontsize=8, color=colour)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _show(axes: Axes, image: Tensor) -> None:
    """Draw one (C, H, W) uint8 image without ticks."""
    pixels = image.permute(1, 2, 0).numpy()
    if len(image) == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=255)
    else:
        axes.imshow(pixels)
    axes.set_xticks([])
    axes.set_yticks([])
