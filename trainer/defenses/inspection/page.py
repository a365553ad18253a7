"""What an inspection found: ``inspect.html`` for people, ``inspect.json`` beside it."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave
from torch import Tensor

from model_zoo.canonical import JsonObject
from model_zoo.statements.evaluation import Proportion
from trainer.defenses.inspection.peaks import STARTS, STEPS
from trainer.defenses.inspection.units import Activity, Effect, Inspection, Unit
from trainer.files import write_whole
from trainer.html import data_uri, templates

HTML_NAME = "inspect.html"
JSON_NAME = "inspect.json"
RED, BLUE = "#c53030", "#2b6cb0"
TINY = 1e-12
"""So that where nothing matters all is black."""
MOST_BARS = 16
"""Logits in one picture: of more, those that move most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    """What the page shows of a unit: its part of the summary, and pictures as URIs."""

    told: JsonObject
    image: str
    matters: str
    bars: str


def write_pages(found: Inspection, subject: JsonObject, *, folder: Path) -> JsonObject:
    """Write both files into ``folder``, each in one step; return the summary.

    Args:
        found: what to tell.
        subject: what was inspected: ``model``, ``sha256``, ``network`` and ``clean``,
            which says in words what the clean images are.
        folder: takes ``inspect.html`` and ``inspect.json``.

    Returns:
        What ``inspect.json`` holds but for the numbers of each single unit.

    Raises:
        LocalError: they cannot be written.
    """
    document = {**subject, **as_json(found)}
    units = {layer: _every_unit(it) for layer, it in found.activity.items()}
    text = json.dumps({**document, "every_unit": units}, indent=2)
    write_whole(folder / JSON_NAME, text.encode())
    write_whole(folder / HTML_NAME, as_html(found, document).encode())
    return document


def as_json(found: Inspection) -> JsonObject:
    """Return the summary as JSON values: every share with its n and 95 % interval."""
    return {
        "accuracy": _share(found.accuracy),
        "is_constant": found.is_constant,
        "layers": {
            layer: {
                "units": len(it.activated),
                "never_activated": (it.activated == 0).nonzero()[:, 0].tolist(),
            }
            for layer, it in found.activity.items()
        },
        "least_activated": [_unit(it) for it in found.least_activated],
        "furthest": [_unit(it) for it in found.furthest],
        "maximised": found.maximised,
        "forward_passes": found.forward_passes,
        "gradient_passes": found.gradient_passes,
    }


def as_html(found: Inspection, document: JsonObject) -> str:
    """Return one self-contained page: style and pictures are inside it."""
    lists = {"least_activated": found.least_activated, "furthest": found.furthest}
    page = templates("trainer.defenses.inspection").get_template("inspect.html.j2")
    return page.render(
        document=document,
        total=sum(len(it.activated) for it in found.activity.values()),
        never=sum(int((it.activated == 0).sum()) for it in found.activity.values()),
        rarest=int(1 / Proportion(successes=0, n=found.accuracy.n).wilson()[1]),
        starts=STARTS,
        steps=STEPS,
        most_bars=MOST_BARS,
        classes=len(found.least_activated[0].ablated.logits),
        rates=_png(_rates(found.activity, found.accuracy.n)),
        lists={name: _cards(units, document[name]) for name, units in lists.items()},
    )


def _cards(units: Sequence[Unit], told: Sequence[JsonObject]) -> list[_Card]:
    """Return what is shown of a list of units, all bars of it on one scale."""
    height = max((float(np.abs(_changes(it)).max()) for it in units), default=0.0)
    return [
        _Card(
            told=its,
            image=_pixels(it.peak.image),
            matters=_pixels(_bright(it.peak.slope)),
            bars=_png(_moves(it, height=height)),
        )
        for its, it in zip(told, units, strict=True)
    ]


def _every_unit(activity: Activity) -> JsonObject:
    return {
        "activated": activity.activated.tolist(),
        "mean": activity.mean.tolist(),
        "largest": activity.largest.tolist(),
    }


def _unit(it: Unit) -> JsonObject:
    return {
        "layer": it.peak.layer,
        "unit": it.peak.number,
        "activation_rate": _share(it.activated),
        "mean_activation": it.mean,
        "largest_activation": it.largest,
        "maximising_input": {
            "activation": it.peak.level,
            "label": it.peak.label,
            "label_without_the_unit": it.peak.label_without,
            "largest_logit_change": it.peak.moved,
            "of_it_beyond_clean_images": it.beyond,
        },
        "ablated": _effect(it.ablated),
        "forced": None if it.forced is None else _effect(it.forced),
    }


def _effect(it: Effect) -> JsonObject:
    return {
        "mean_logit_changes": list(it.logits),
        "labels_changed": _share(it.changed),
        "most_to": it.label,
        "to_that_label": it.to_label,
    }


def _share(it: Proportion) -> JsonObject:
    low, high = it.wilson()
    return {"rate": it.rate, "low": low, "high": high, **it.to_object()}


def _rates(activity: Mapping[str, Activity], n: int) -> Figure:
    """Return a line a layer: its units' activation rates, from least to most."""
    figure = Figure(figsize=(7, 2.8), layout="tight")
    axes = figure.subplots()
    for layer, it in activity.items():
        rates = 100 * it.activated.double().sort().values / n
        places = np.linspace(0, 100, len(rates))
        axes.plot(places, rates, label=layer, drawstyle="steps-mid")
    axes.set_xlabel("units of the layer, from least to most activated, %")
    axes.set_ylabel("clean images that wake it, %")
    axes.set_ylim(-3, 103)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _changes(unit: Unit) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return (2, classes), the mean change of each logit, forced on and ablated."""
    forced = unit.forced.logits if unit.forced else [0.0] * len(unit.ablated.logits)
    return np.array([forced, unit.ablated.logits])


def _moves(unit: Unit, *, height: float) -> Figure:
    """Return bars of the mean change of each logit, up to ``height``."""
    both = _changes(unit)
    most = np.sort(np.abs(both).max(0).argsort(stable=True)[-MOST_BARS:])
    figure = Figure(figsize=(3.9, 1.6), layout="tight")
    axes = figure.subplots()
    places = np.arange(len(most))
    for offset, values, colour, name in (
        (-0.2, both[0], RED, "forced on"),
        (0.2, both[1], BLUE, "ablated"),
    ):
        axes.bar(places + offset, values[most], 0.4, color=colour, label=name)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylim(-1.08 * height or -1, 1.08 * height or 1)
    axes.set_xticks(places, map(str, most), fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylabel("mean change\nof the logit", fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        frameon=False,
        fontsize=7,
        ncols=2,
        loc="lower right",
        bbox_to_anchor=(1, 0.96),
        borderaxespad=0,
    )
    return figure


def _png(figure: Figure) -> str:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=140)
    return data_uri(image.getvalue(), "png")


def _bright(slope: Tensor) -> Tensor:
    """Return (1, H, W) in [0, 1]: white where most matters."""
    return (slope / slope.max().clamp(min=TINY))[None]


def _pixels(image: Tensor) -> str:
    """Return (C, H, W) in [0, 1] as a picture of H x W pixels, grey or in colour."""
    file = io.BytesIO()
    colours = image.expand(3, -1, -1).permute(1, 2, 0).contiguous()
    imsave(file, colours.numpy(), format="png")
    return data_uri(file.getvalue(), "png")
