"""``python -m benchmarks.repository.picture``: what a repository costs as it grows.

Reads the JSON that ``python -m benchmarks trust --parts publish,client`` keeps.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.repository.walks import MAX_COLD_BYTES, MAX_WARM_BYTES
from model_zoo.canonical import JsonObject

BLUE, RED, GREY = "#2b6cb0", "#c53030", "#4a5568"
RESULT = Path("bench-results/trust-publish-client.json")
PICTURE = Path("docs/images/trust-growth.svg")
KILOBYTE = 1000
ROOM_FOR_LEGEND = 1.25


def main(arguments: list[str] | None = None) -> int:
    """Draw one picture of one result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", default=RESULT)
    parser.add_argument("--to", type=Path, default=PICTURE)
    asked = parser.parse_args(arguments)
    parts = json.loads(asked.result.read_text(encoding="utf-8"))["parts"]
    asked.to.parent.mkdir(parents=True, exist_ok=True)
    rcParams["svg.hashsalt"] = "zoo"  # the same figures give the same file
    drawn(parts).savefig(
        asked.to, bbox_inches="tight", metadata={"Date": None}, dpi=140
    )
    return 0


def drawn(parts: Mapping[str, JsonObject]) -> Figure:
    """Return time of a publish on the left, bytes of a walk on the right."""
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _publishing(left, parts["publish"]["sides"])
    _walking(right, parts["client"])
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("releases of 100 publishers")
        axes.set_ylim(0, ROOM_FOR_LEGEND * axes.get_ylim()[1])
        axes.grid(visible=True, color="#e2e8f0")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _publishing(axes: Axes, sides: Mapping[str, JsonObject]) -> None:
    for name, colour in (("fsync", BLUE), ("no fsync", GREY)):
        sizes = sorted(
            int(it.split(",")[0]) for it in sides if it.endswith(f", {name}")
        )
        seconds = [sides[f"{size}, {name}"]["seconds"] for size in sizes]
        _line(axes, sizes, [_scaled(it, 1000) for it in seconds], name, colour)
    axes.set_title("publishing one more: the service's part")
    axes.set_ylabel("milliseconds (median, least to greatest)")


def _walking(axes: Axes, client: Mapping[str, JsonObject]) -> None:
    sizes = sorted(int(size) for size in client)
    for name, label, colour in (
        ("cold, pull", "cold", RED),
        ("warm, the new release, pull", "warm: the release just published", BLUE),
        ("warm, another publisher's, pull", "warm: somebody else published", GREY),
    ):
        sides = [client[str(size)]["sides"][name]["metadata_bytes"] for size in sizes]
        _line(axes, sizes, [_scaled(it, 1 / KILOBYTE) for it in sides], label, colour)
    for goal, colour in ((MAX_COLD_BYTES, RED), (MAX_WARM_BYTES, BLUE)):
        axes.axhline(goal / KILOBYTE, color=colour, linewidth=1, linestyle=":")
    axes.set_title("asking what the zoo vouches for")
    axes.set_ylabel("kB of metadata (dotted: goals at 100,000)")


def _scaled(summary: JsonObject, factor: float) -> tuple[float, float, float]:
    return (
        factor * summary["median"],
        factor * summary["min"],
        factor * summary["max"],
    )


def _line(
    axes: Axes,
    sizes: Sequence[int],
    values: Sequence[tuple[float, float, float]],
    label: str,
    colour: str,
) -> None:
    medians = [median for median, _, _ in values]
    axes.plot(sizes, medians, marker="o", color=colour, label=label)
    least, greatest = [low for _, low, _ in values], [high for _, _, high in values]
    axes.fill_between(sizes, least, greatest, color=colour, alpha=0.15, linewidth=0)


if __name__ == "__main__":
    sys.exit(main())
