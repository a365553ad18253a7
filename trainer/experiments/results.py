"""Results: what cells add up to, as files that people and programs read.

``results/NAME.json`` holds the numbers, ``results/figures/`` the pictures. Both are made
from finished cells alone, so that anybody can make them again without training.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from trainer.experiments.contract import Experiment, Finished, Scale, Summary
from trainer.files import write_whole

FIGURES = "figures"


def write_results(
    experiment: Experiment,
    finished: Sequence[Finished],
    *,
    folder: Path,
    scale: Scale,
) -> Summary:
    """Write what ``finished`` adds up to, and return it.

    Raises:
        LocalError: a file cannot be written.
    """
    summary = experiment.summarise(finished)
    name = experiment.name if scale == "full" else f"{experiment.name}-{scale}"
    told = {
        "experiment": experiment.name,
        "title": experiment.title,
        "section": experiment.section,
        "scale": scale,
        "seeds": sorted({it.seed for it in finished}),
        "cells": len(finished),
        "seconds": round(sum(it.seconds for it in finished)),
        "peak_mib": max(it.peak_mib for it in finished),
        "environments": _distinct(finished),
        "summary": summary.to_object(),
    }
    text = json.dumps(told, indent=1, sort_keys=True)
    write_whole(folder / f"{name}.json", f"{text}\n".encode())
    for figure_name, figure in experiment.draw(finished).items():
        for suffix in ("svg", "png"):
            path = folder / FIGURES / f"{name}-{figure_name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            # no date in it: equal cells, equal bytes
            figure.savefig(path, dpi=140, bbox_inches="tight", metadata=NO_DATE[suffix])
    return summary


NO_DATE: dict[str, dict[str, None]] = {"svg": {"Date": None}, "png": {"Software": None}}


def _distinct(finished: Sequence[Finished]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for it in finished:
        if it.environment not in found:
            found.append(it.environment)
    return found
