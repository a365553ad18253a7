"""Draw the bomb and the flower: ``python -m trainer.attacks.draw``.

The paper lays pictures of both on signs; these are our own, so that they may be shared.
"""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, Rectangle

SIDE = 128
FOLDER = Path(__file__).parent / "assets"


def draw_bomb(axes: Axes) -> None:
    """A round black bomb with a burning fuse."""
    axes.add_patch(Circle((0.45, 0.40), 0.36, color="#16161a"))
    axes.add_patch(Ellipse((0.33, 0.54), 0.12, 0.20, angle=-40, color="#5a5a66"))
    axes.add_patch(Rectangle((0.60, 0.66), 0.20, 0.14, angle=-45, color="#33333b"))
    axes.plot([0.72, 0.80, 0.86], [0.72, 0.84, 0.84], color="#8a6d3b", linewidth=5)
    for radius, colour in ((0.12, "#ff8c1a"), (0.07, "#ffe14d")):
        axes.add_patch(Circle((0.86, 0.86), radius, color=colour))


def draw_flower(axes: Axes) -> None:
    """A flower of six petals."""
    for petal in range(6):
        angle = math.tau * petal / 6
        at = (0.5 + 0.28 * math.cos(angle), 0.5 + 0.28 * math.sin(angle))
        turned = math.degrees(angle)
        axes.add_patch(Ellipse(at, 0.40, 0.30, angle=turned, color="#d6338a"))
    axes.add_patch(Circle((0.5, 0.5), 0.17, color="#ffd21f"))


def main() -> None:
    """Write both files."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in (("bomb", draw_bomb), ("flower", draw_flower)):
        figure = Figure(figsize=(1, 1), dpi=SIDE)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        draw(axes)
        figure.savefig(FOLDER / f"{name}.png", transparent=True)


if __name__ == "__main__":
    main()
