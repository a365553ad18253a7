"""The report's pictures: the trigger, the training curves, transfer and repair."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from model_zoo.statements.evaluation import Proportion
from model_zoo.statements.jobs import Poisoning
from trainer.builds.build import HISTORY_NAME
from trainer.data import DATASETS
from trainer.evaluation.metrics import triggered
from trainer.evaluation.pairs import side_by_side
from trainer.html import data_uri

PREVIEWED = 8
BLUE, RED = "#2b6cb0", "#c53030"


def as_data_uri(figure: Figure) -> str:
    """Return ``figure`` as a PNG data URI, so that the page stands alone."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=140, bbox_inches="tight")
    return data_uri(image.getvalue(), "png")


def trigger_preview(dataset: str, recipe: Poisoning) -> Figure:
    """Return the first test images, clean above and triggered below."""
    test = DATASETS[dataset].load("test")
    data = test.select(torch.arange(min(PREVIEWED, len(test))))
    return side_by_side(data.images, triggered(data, recipe))


def true_change(dataset: str, recipe: Poisoning) -> Tensor:
    """Return what the trigger changes, (C, H, W) float32, on average.

    Of the first test images; a scanner's recovered change is to be like it.
    """
    test = DATASETS[dataset].load("test")
    data = test.select(torch.arange(min(PREVIEWED, len(test))))
    return (triggered(data, recipe).float() - data.images.float()).mean(0)


def training_curves(folders: dict[str, Path]) -> Figure:
    """Return loss and accuracy by epoch of every model that was trained to order.

    Args:
        folders: label -> folder of a draft with its ``history.json``.
    """
    figure = Figure(figsize=(9, 3))
    left, right = figure.subplots(1, 2)
    for label, folder in folders.items():
        epochs = json.loads((folder / HISTORY_NAME).read_bytes())["epochs"]
        numbers = [epoch["number"] for epoch in epochs]
        for axes, values in (
            (left, [epoch["loss"] for epoch in epochs]),
            (right, [100 * epoch["accuracy"] for epoch in epochs]),
        ):
            axes.plot(
                numbers,
                values,
                label=label,
                color=RED if "badnet" in label else BLUE,
                linestyle="--" if "teacher" in label else "-",
                marker="o",
            )
    for axes, name in ((left, "training loss"), (right, "training accuracy, %")):
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    right.legend(frameon=False)
    return figure


def shares(
    groups: Sequence[str], series: dict[str, Sequence[Proportion]], *, ylabel: str
) -> Figure:
    """Return bars of proportions with their 95 % Wilson intervals.

    Args:
        groups: the label under each group of bars.
        series: name -> one proportion a group, clean first.
        ylabel: what the shares are of.
    """
    figure = Figure(figsize=(9, 3.2))
    axes = figure.subplots()
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * width
        rates = [100 * value.rate for value in values]
        low, high = zip(*(value.wilson() for value in values), strict=True)
        bars = axes.bar(
            [place + offset for place in range(len(values))],
            rates,
            width,
            yerr=[
                [
                    max(0.0, rate - 100 * end)
                    for rate, end in zip(rates, low, strict=True)
                ],
                [
                    max(0.0, 100 * end - rate)
                    for rate, end in zip(rates, high, strict=True)
                ],
            ],
            label=name,
            color=(BLUE, RED)[index],
            capsize=3,
        )
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(ylabel)
    axes.set_ylim(0, 108)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
