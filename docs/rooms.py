# ruff: noqa: INP001  a script beside the pages, not part of a package
"""Draw docs/images/rooms.svg: the rooms of the three packages and what they import.

Run as ``python docs/rooms.py docs/images/rooms.svg``; a test compares the rooms and
arrows with the imports as they are. A room stands above every room that it imports.
An arrow that a longer way implies is left out, or nothing could be seen.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
PACKAGES = ("model_zoo", "service", "trainer")
START, GROUND = "start", "ground"
STARTS = {
    "model_zoo": {"__main__"},
    "service": {"app", "serving", "cli"},
    "trainer": set[str](),
}
"""Modules of a package's root that import from its rooms; all others are the ground,
but for ``service.context``, which has rooms above and below it."""
ARROW_COLOR = "#8895a3"
FLOOR_HEIGHT, PACKAGE_WIDTH, BOX_HEIGHT = 1.0, 10.0, 0.34

Arrows = Mapping[str, frozenset[str]]


def room_of(module: str) -> str | None:
    """Return the room in which a module of ours stands; None of a package itself."""
    package, *names = module.split(".")
    if not names:
        return None
    if (ROOT / package / names[0]).is_dir() or names[0] == "context":
        return names[0]
    return START if names[0] in STARTS[package] else GROUND


def arrows(package: str) -> Arrows:
    """Return room -> rooms that it imports from."""
    graph = grimp.build_graph(package, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        if (room := room_of(module)) is None:
            continue
        imported = map(room_of, graph.find_modules_directly_imported_by(module))
        others = {it for it in imported if it is not None and it != room}
        found.setdefault(room, set()).update(others)
    return {room: frozenset(found[room]) for room in sorted(found)}


def floors(of: Arrows) -> dict[str, int]:
    """Return room -> its floor: 0 imports no other, each next one only lower ones.

    Raises:
        ValueError: two rooms import each other, if by way of others.
    """
    known: dict[str, int] = {}
    while len(known) < len(of):
        ready = {it for it in of if it not in known and of[it] <= known.keys()}
        if not ready:
            msg = f"these rooms import each other: {sorted(of.keys() - known.keys())}"
            raise ValueError(msg)
        known |= {it: 1 + max((known[to] for to in of[it]), default=-1) for it in ready}
    return known


def direct(of: Arrows) -> Arrows:
    """Return the arrows without those that a longer way implies."""

    def reached(rooms: Iterable[str]) -> set[str]:
        return {end for it in rooms for end in {it, *reached(of[it])}}

    return {
        room: frozenset(
            to for to in ends if to not in reached(end for end in ends if end != to)
        )
        for room, ends in of.items()
    }


def places(of: Arrows) -> dict[str, tuple[float, float]]:
    """Return room -> middle of its box, its neighbours on a floor beside it."""
    level = floors(of)
    by_floor: dict[int, list[str]] = {}
    for room in sorted(of):
        by_floor.setdefault(level[room], []).append(room)
    return {
        room: (
            PACKAGE_WIDTH * (place + 1) / (len(rooms) + 1),
            FLOOR_HEIGHT * floor,
        )
        for floor, rooms in by_floor.items()
        for place, room in enumerate(rooms)
    }


def draw(axes: Axes, package: str) -> None:
    """Draw one package."""
    of = arrows(package)
    where = places(of)
    for room, (x, y) in where.items():
        axes.text(
            x,
            y,
            room,
            ha="center",
            va="center",
            fontsize=9,
            family="monospace",
            bbox={"boxstyle": "round,pad=0.35", "fc": "#eef3f8", "ec": "#46627f"},
            zorder=2,
        )
    for room, ends in direct(of).items():
        for end in sorted(ends):
            (x, y), (to_x, to_y) = where[room], where[end]
            axes.annotate(
                "",
                xy=(to_x, to_y + BOX_HEIGHT / 2),
                xytext=(x, y - BOX_HEIGHT / 2),
                arrowprops={"arrowstyle": "->", "color": ARROW_COLOR, "lw": 0.9},
                zorder=1,
            )
    axes.set_title(package, family="monospace", fontsize=12)
    axes.set_xlim(0, PACKAGE_WIDTH)
    axes.set_ylim(-0.5, FLOOR_HEIGHT * (max(floors(of).values()) + 0.5))
    axes.axis("off")


def main(path: str) -> None:
    """Write the picture."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rooms"})
    figure = Figure(figsize=(15, 8.5), layout="constrained")
    for axes, package in zip(figure.subplots(1, 3), PACKAGES, strict=True):
        draw(axes, package)
    figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
