"""The shared figures: equal numbers, equal bytes, and labels that say on what."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from trainer.evaluation.intervals import estimate
from trainer.experiments.engine.figures import (
    COLOURS,
    bars,
    filters,
    heat_map,
    lines,
    saved,
    shares,
    styled,
)

SEEDS = estimate([0.4, 0.5, 0.6], n=10_000)
FEW = estimate([0.4, 0.5], n=892)
PAIRS = {(i, j): float(i * j) for i in range(10) for j in range(10) if i != j}
WEIGHTS = [[[float(it - 8)] * 5] * 5 for it in range(16)]


DRAWN: dict[str, Callable[[], Figure]] = {
    "heat_map": lambda: heat_map(
        PAIRS, title="error, %", rows="true label", columns="target label"
    ),
    "lines": lambda: lines(
        {"clean": {1.0: SEEDS, 2.0: FEW}, "triggered": {1.0: FEW}},
        xlabel="share, %",
        ylabel="error, %",
        paper={"clean": {1.0: 0.5}},
    ),
    "shares": lambda: shares(
        ["stop", "warning"],
        {"clean": [SEEDS, FEW], "triggered": [FEW, FEW]},
        ylabel="accuracy, %",
        paper={"clean": [89.7, None]},
    ),
    "bars": lambda: bars([0.1, 0.9], xlabel="unit", ylabel="difference", marked=[1]),
    "filters": lambda: filters(WEIGHTS, marked=[3], whose="badnet"),
}


def drawn(name: str) -> Figure:
    with styled():
        return DRAWN[name]()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_equal_figures_are_equal_bytes_without_a_date(name: str, kind: str) -> None:
    assert kind in {"svg", "png"}
    first, again = (saved(drawn(name), "svg" if kind == "svg" else "png") for _ in "ab")
    assert first == again
    assert b"<dc:date>" not in first


def test_axes_tell_unit_seeds_and_n() -> None:
    (axes,) = drawn("lines").axes
    assert axes.get_ylabel() == "error, %\n(2 to 3 seeds, n = 892 to 10,000)"
    (axes,) = drawn("shares").axes
    assert axes.get_ylabel() == "accuracy, %\n(2 to 3 seeds, n = 892 to 10,000)"
    assert drawn("bars").axes[0].get_xlabel() == "unit (n = 2)"


def test_a_heat_map_prints_every_number_and_leaves_the_rest_blank() -> None:
    axes = drawn("heat_map").axes[0]
    told = {it.get_position(): it.get_text() for it in axes.texts}
    assert told == {(j, i): f"{value:.2f}" for (i, j), value in PAIRS.items()}


def test_numbers_of_a_heat_map_are_light_on_dark_and_dark_on_light() -> None:
    texts = drawn("heat_map").axes[0].texts
    lowest = next(it for it in texts if it.get_text() == "0.00")
    highest = next(it for it in texts if it.get_text() == "72.00")
    assert (lowest.get_color(), highest.get_color()) == ("white", "black")


def test_a_log_axis_tells_numbers_as_people_write_them() -> None:
    many = {1.0: estimate([7.1]), 2.0: estimate([0.4])}
    with styled():
        figure = lines({"clean": many}, xlabel="x", ylabel="y", yscale="log")
    saved(figure, "svg")
    (axes,) = figure.axes
    told = {it.get_text() for it in axes.get_yticklabels(which="both")}
    assert {"0.5", "1", "2", "5"} <= told
    assert all(it == "" or it == f"{float(it):g}" for it in told)


def test_series_differ_in_more_than_colour() -> None:
    (axes,) = drawn("lines").axes
    markers = {it.get_color(): it.get_marker() for it in axes.lines[::-1]}
    assert len({markers[colour] for colour in COLOURS[:2]}) == 2


def test_the_papers_numbers_are_there_where_it_has_them() -> None:
    (axes,) = drawn("lines").axes
    assert "clean, paper" in [it.get_label() for it in axes.lines]
    (axes,) = drawn("shares").axes
    heights = [
        float(vertices[0][1])
        for it in axes.collections
        for path in it.get_paths()
        if len(vertices := np.asarray(path.vertices))
    ]
    assert heights.count(89.7) == 1


def test_what_is_marked_is_named_in_words_too() -> None:
    seen, told = drawn("filters"), drawn("bars")
    assert seen.get_label() == (
        "badnet: 16 filters, black -8.00 to white 8.00; framed: 3"
    )
    assert str(told.get_label()).endswith("marked: 1")
    frames = [it.spines["left"].get_visible() for it in seen.axes]
    assert [number for number, it in enumerate(frames) if it] == [3]


def test_the_style_ends_with_the_drawing() -> None:
    before = mpl.rcParams["font.size"]
    with styled():
        assert mpl.rcParams["svg.hashsalt"] == "verified-model-zoo"
    assert (mpl.rcParams["font.size"], mpl.rcParams["svg.hashsalt"]) == (before, None)
