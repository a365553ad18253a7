"""The pictures that experiments share, in one style that colour-blind readers can use.

Colours are those of Okabe and Ito; every series has a marker or a hatch of its own,
too. Axes carry the unit, and n wherever the numbers know it. The same numbers give the
same bytes.

Source:
    Okabe and Ito, "Color Universal Design", 2008.
"""

import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from trainer.evaluation.intervals import Estimate

BLUE, VERMILION, GREEN, PURPLE = COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK = "#2d3748"
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=COLOURS, marker=("o", "s", "^", "D")),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "hatch.linewidth": 0.6,
    "image.cmap": "cividis",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "savefig.bbox": "tight",
    "savefig.dpi": 140,
    "svg.hashsalt": "verified-model-zoo",  # else the ids in a file are random
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
HATCHES = ("", "///", "...", "xxx")
FORMATS: dict[Literal["svg", "png"], dict[str, None]] = {
    "svg": {"Date": None},
    "png": {"Software": None},
}
"""Format -> what its files would say of the day and the program that wrote them."""

FRAME = 3.0
GROUP_WIDTH = 0.8
MIDDLE = 0.5
_LUMINANCE = np.array((0.2126, 0.7152, 0.0722))
"""Source: ITU-R BT.709."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in the one style."""
    with mpl.rc_context(STYLE):
        yield


def saved(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """Return ``figure`` as a file: equal figures give equal bytes."""
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format=kind, metadata=FORMATS[kind])
    return file.getvalue()


def heat_map(
    values: Mapping[tuple[int, int], float],
    *,
    title: str,
    rows: str,
    columns: str,
    n: str = "",
) -> Figure:
    """Return a map of numbers by (row, column), each printed in its field.

    Args:
        values: fields that are left out stay blank.
        title: what the numbers are, with their unit.
        rows: what the rows are.
        columns: what the columns are.
        n: what each number rests on, in words.
    """
    height, width = (1 + max(pair[axis] for pair in values) for axis in (0, 1))
    figure = Figure(figsize=(1.4 + 0.44 * width, 1 + 0.4 * height))
    axes = figure.subplots()
    blank = float("nan")
    shown = axes.imshow(
        [[values.get((i, j), blank) for j in range(width)] for i in range(height)]
    )
    numbers = np.array(list(values.values()))
    lights = shown.to_rgba(numbers)[:, :3] @ _LUMINANCE
    for ((i, j), value), light in zip(values.items(), lights, strict=True):
        ink = "white" if light < MIDDLE else "black"
        axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(width))
    axes.set_yticks(range(height))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{title} ({n})" if n else title)
    axes.set_ylabel(rows)
    axes.set_xlabel(columns)
    figure.colorbar(shown, fraction=0.045, pad=0.03).outline.set_visible(False)
    return captioned(figure, title)


def lines(
    series: Mapping[str, Mapping[float, Estimate]],
    *,
    xlabel: str,
    ylabel: str,
    paper: Mapping[str, Mapping[float, float]] | None = None,
    yscale: Literal["linear", "log"] = "linear",
) -> Figure:
    """Return one line a series over its x, with 95 % intervals where there are any.

    Args:
        series: name -> x -> estimate.
        xlabel: what x is, with its unit.
        ylabel: what the estimates are of, with their unit; n is added.
        paper: name of a series -> x -> the paper's number, hollow and dashed.
        yscale: ``log`` where numbers are many times each other.
    """
    figure = Figure(figsize=(6, 3.6))
    axes = figure.subplots()
    for name, points in series.items():
        ends = _ends(list(points.values()))
        means = [it.mean for it in points.values()]
        drawn = axes.errorbar(list(points), means, yerr=ends, label=name, capsize=3)
        theirs = (paper or {}).get(name)
        if theirs:
            line = drawn.lines[0]
            axes.plot(
                list(theirs),
                list(theirs.values()),
                color=line.get_color(),
                marker=line.get_marker(),
                linestyle="--",
                markerfacecolor="white",
                label=f"{name}, paper",
            )
    axes.set_yscale(yscale)
    if yscale == "log":
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(xlabel)
    axes.set_ylabel(
        _counted(ylabel, [it for of in series.values() for it in of.values()])
    )
    _name_series(axes)
    return captioned(figure, f"{ylabel} by {xlabel}")


def bars(
    heights: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
    marked: Collection[int] = (),
) -> Figure:
    """Return one bar a unit, side by side; marked ones in another colour and named.

    Args:
        heights: one a unit.
        xlabel: what the units are.
        ylabel: what the heights are, with their unit.
        marked: indices of those that are meant.
    """
    figure = Figure(figsize=(6, 2.8))
    axes = figure.subplots()
    colours = [VERMILION if it in marked else BLUE for it in range(len(heights))]
    axes.bar(range(len(heights)), heights, color=colours)
    for unit in marked:
        up = heights[unit] >= 0
        axes.annotate(
            str(unit),
            (unit, heights[unit]),
            xytext=(0, 2 if up else -2),
            textcoords="offset points",
            rotation=90,  # neighbours would run into each other
            ha="center",
            va="bottom" if up else "top",
            fontsize=7,
            color=VERMILION,
        )
    axes.margins(y=0.12)  # for the numbers at the ends of bars
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xlabel(f"{xlabel} (n = {len(heights)})")
    axes.set_ylabel(ylabel)
    marks = f"; marked: {', '.join(map(str, sorted(marked)))}" * bool(marked)
    return captioned(figure, f"{ylabel}, by {xlabel}{marks}")


def shares(
    groups: Sequence[str],
    series: Mapping[str, Sequence[Estimate]],
    *,
    ylabel: str,
    paper: Mapping[str, Sequence[float | None]] | None = None,
) -> Figure:
    """Return groups of bars with 95 % intervals; the paper's numbers as black lines.

    Args:
        groups: the label under each group.
        series: name -> one estimate a group.
        ylabel: what the estimates are of, with their unit; n is added.
        paper: name of a series -> the paper's number a group; None where it has none.
    """
    figure = Figure(figsize=(max(5.0, 1.2 * len(groups)), 3.4))
    axes = figure.subplots()
    width = GROUP_WIDTH / len(series)
    for index, (name, values) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * width
        places = [place + offset for place in range(len(groups))]
        drawn = axes.bar(
            places,
            [it.mean for it in values],
            width,
            yerr=_ends(values),
            label=name,
            color=COLOURS[index % len(COLOURS)],
            hatch=HATCHES[index % len(HATCHES)],
            edgecolor="white",
            capsize=3,
        )
        axes.bar_label(drawn, fmt="%.1f", padding=3, fontsize=7)
        theirs = (paper or {}).get(name, [None] * len(groups))
        for place, number in zip(places, theirs, strict=True):
            if number is not None:
                ends = (place - width / 2, place + width / 2)
                axes.hlines(number, *ends, color="black", linewidth=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(_counted(ylabel, [it for of in series.values() for it in of]))
    _name_series(axes)
    legend = "; black lines: the paper" * bool(paper)
    return captioned(figure, f"{ylabel}: {', '.join(series)}{legend}")


def filters(
    weights: Sequence[Sequence[Sequence[float]]],
    *,
    marked: Collection[int] = (),
    whose: str,
) -> Figure:
    """Return a square grid of convolution filters; marked ones are framed and named.

    Args:
        weights: (filters, H, W).
        marked: indices of those that are meant.
        whose: of which network they are, for the caption.
    """
    side = math.ceil(math.sqrt(len(weights)))
    figure = Figure(figsize=(side, side))
    room = {"hspace": 0.35 if marked else 0.1}  # for the names of the marked ones
    grid = figure.subplots(side, side, squeeze=False, gridspec_kw=room).flatten()
    limit = max(abs(it) for filter_ in weights for row in filter_ for it in row)
    for axes in grid:
        _bare(axes)
    for number, (axes, filter_) in enumerate(zip(grid, weights, strict=False)):
        axes.imshow(filter_, cmap="gray", vmin=-limit, vmax=limit)
        if number in marked:
            axes.spines[:].set(visible=True, color=VERMILION, linewidth=FRAME)
            axes.set_xlabel(f"unit {number}", color=VERMILION, fontsize=7)
    caption = (
        f"{whose}: {len(weights)} filters, black {-limit:.2f} to white {limit:.2f}"
    )
    caption += f"; framed: {', '.join(map(str, sorted(marked)))}" * bool(marked)
    return captioned(figure, caption)


def captioned(figure: Figure, caption: str) -> Figure:
    """Return ``figure`` after giving it the line that pages print under it."""
    figure.set_label(caption)
    return figure


def _ends(values: Sequence[Estimate]) -> list[list[float]]:
    """Return how far the intervals reach below and above the means."""
    return [
        [0.0 if it.low is None else it.mean - it.low for it in values],
        [0.0 if it.high is None else it.high - it.mean for it in values],
    ]


def _counted(label: str, values: Sequence[Estimate]) -> str:
    """Return an axis' label with the seeds and n behind its numbers."""
    seeds = _range(it.seeds for it in values)
    basis = [f"{seeds} seed{'s' * (seeds != '1')}"]
    if any(it.n for it in values):
        basis.append(f"n = {_range(it.n for it in values if it.n)}")
    return f"{label}\n({', '.join(basis)})"


def _range(counts: Iterator[int] | Sequence[int]) -> str:
    found = sorted(set(counts))
    ends = found if len(found) == 1 else (found[0], found[-1])
    return " to ".join(f"{it:,}" for it in ends)


def _name_series(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
