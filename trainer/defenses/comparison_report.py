"""The pages of a comparison: ``diff.html`` for people, ``diff.json`` for programs."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from model_zoo.canonical import JsonObject
from trainer.defenses.comparison import WeightsComparison
from trainer.defenses.disagreement import BehaviourComparison, LabelChanges, Shown
from trainer.files import write_whole
from trainer.html import data_uri, templates

HTML_NAME = "diff.html"
JSON_NAME = "diff.json"
RED = "#c53030"
MAX_LISTED = 12
"""Changes of labels that are listed; JSON has all of them."""
MAX_TABLE = 12
"""Labels of which a table still fits a page."""


class _Change(NamedTuple):
    """How many images get ``old`` from the older network and ``new`` from the newer."""

    old: int
    new: int
    images: int


def write_comparison(
    document: JsonObject,
    weights: WeightsComparison,
    behaviour: BehaviourComparison | None,
    shown: Shown | None,
    *,
    folder: Path,
) -> Path:
    """Write both pages into ``folder``; return the one for people.

    Args:
        document: all there is to tell, as it is written for programs.
        weights: what changed in the weights.
        behaviour: where the answers differ; None where no network is known.
        shown: some perturbed images, of the same.
        folder: gets the two files.

    Raises:
        LocalError: it cannot be written.
    """
    text = json.dumps(document, indent=2)
    write_whole(folder / JSON_NAME, text.encode())
    changed = [it for it in weights.tensors if not it.identical]
    page = templates("trainer.defenses").get_template("comparison.html.j2")
    html = page.render(
        document=document,
        weights=weights,
        changed=changed,
        largest=max((it.relative_norm or 0 for it in changed), default=0),
        behaviour=behaviour,
        tables=[] if behaviour is None else list(_tables(behaviour)),
        picture=None if shown is None else _picture(shown),
        max_table=MAX_TABLE,
    )
    path = folder / HTML_NAME
    write_whole(path, html.encode())
    return path


def _tables(
    behaviour: BehaviourComparison,
) -> Iterator[tuple[str, LabelChanges, list[_Change]]]:
    """Yield what images were shown, how they are answered, the commonest changes."""
    if behaviour.data is not None:
        yield "The images given", behaviour.data, _commonest(behaviour.data)
    yield "Random images", behaviour.noise, _commonest(behaviour.noise)
    last = behaviour.perturbed[-1]
    title = f"With a perturbation of {last.bound:.0%}"
    yield title, last.answers, _commonest(last.answers)


def _commonest(found: LabelChanges) -> list[_Change]:
    changes = [
        _Change(old, new, count)
        for old, row in enumerate(found.changes)
        for new, count in enumerate(row)
        if old != new and count
    ]
    return sorted(changes, key=lambda it: (-it.images, it.old, it.new))[:MAX_LISTED]


def _picture(shown: Shown) -> str:
    """Return images above, the same with the perturbation below, with both answers."""
    count = len(shown.before)
    figure = Figure(figsize=(1.15 * count, 3.2), layout="tight")
    grid = figure.subplots(2, count, squeeze=False)
    for row, images, labels in (
        (grid[0], shown.before, shown.answers[:, :2]),
        (grid[1], shown.after, shown.answers[:, 2:]),
    ):
        for axes, image, (old, new) in zip(row, images, labels.tolist(), strict=True):
            pixels = image.permute(1, 2, 0).numpy()
            grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if len(image) == 1 else {}
            axes.imshow(pixels.squeeze(), **grey)
            axes.set_xticks([])
            axes.set_yticks([])
            colour = "black" if old == new else RED
            axes.set_title(f"old {old}, new {new}", fontsize=8, color=colour)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=140)
    return data_uri(drawn.getvalue(), "png")
