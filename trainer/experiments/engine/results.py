"""Results: what cells add up to, as files that people and programs read.

``results/NAME.json`` holds the numbers, ``results/figures/`` the pictures. Both are
made from finished cells alone, so that anybody can make them again without training.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.errors import LocalError
from trainer.experiments.engine.cells import Finished, Scale
from trainer.experiments.engine.experiment import Experiment, Figures, Summary
from trainer.experiments.engine.figures import FORMATS, saved, styled
from trainer.files import read_bytes, write_whole

FIGURES = "figures"
MAX_RESULT_BYTES = 4 * 1024 * 1024


class Picture(Document):
    """A figure of an experiment.

    Attributes:
        path: of its SVG file in the folder of results; a PNG file lies beside it.
        caption: what is to be seen.
    """

    path: str
    caption: str


class Result(Document):
    """What ``results/NAME.json`` says.

    Attributes:
        experiment: its name.
        title: what it shows.
        section: where the paper has it.
        scale: ``quick`` numbers mean nothing.
        seeds: that were run.
        cells: how many were run.
        cells_sha256: over the canonical JSON of their sorted digests, which name
            all specs and seeds.
        seconds: of all cells together, on one core each.
        peak_mib: the most memory that a process held.
        environments: on which the cells were run.
        summary: claims, tables and remarks.
        pictures: the figures.
    """

    experiment: str
    title: str
    section: str
    scale: Scale
    seeds: tuple[int, ...]
    cells: int
    cells_sha256: str
    seconds: int
    peak_mib: int
    environments: tuple[JsonObject, ...]
    summary: Summary
    pictures: tuple[Picture, ...]


def write_results(
    experiment: Experiment, finished: Sequence[Finished], *, folder: Path, scale: Scale
) -> Result:
    """Write what ``finished`` adds up to into ``folder``, and return it.

    Raises:
        LocalError: a file cannot be written.
    """
    with styled():
        figures = experiment.draw(finished)
    result = result_of(experiment, finished, figures=figures, scale=scale)
    for picture, figure in zip(result.pictures, figures.values(), strict=True):
        path = folder / picture.path
        for kind in FORMATS:
            write_whole(path.with_suffix(f".{kind}"), saved(figure, kind))
    text = json.dumps(result.to_object(), indent=1, sort_keys=True)
    path = folder / f"{_stem(experiment.name, scale)}.json"
    write_whole(path, f"{text}\n".encode())
    return result


def result_of(
    experiment: Experiment,
    finished: Sequence[Finished],
    *,
    figures: Figures,
    scale: Scale,
) -> Result:
    """Return what ``finished`` adds up to; the same cells give the same result."""
    digests = sorted(it.cell for it in finished)
    environments: list[JsonObject] = []
    for it in finished:
        if it.environment not in environments:
            environments.append(it.environment)
    stem = _stem(experiment.name, scale)
    return Result(
        experiment=experiment.name,
        title=experiment.title,
        section=experiment.section,
        scale=scale,
        seeds=tuple(sorted({it.seed for it in finished})),
        cells=len(finished),
        cells_sha256=sha256_bytes(canonical_json(digests)),
        seconds=round(sum(it.seconds for it in finished)),
        peak_mib=round(max(it.peak_mib for it in finished)),
        environments=tuple(environments),
        summary=experiment.summarise(finished),
        pictures=tuple(
            Picture(
                path=f"{FIGURES}/{stem}-{name}.svg",
                caption=str(figure.get_label()) or name.replace("-", " "),
            )
            for name, figure in figures.items()
        ),
    )


def read_result(folder: Path, name: str, *, scale: Scale = "full") -> Result | None:
    """Return the result of the experiment ``name``; None if it has none.

    Raises:
        LocalError: the file is damaged.
    """
    path = folder / f"{_stem(name, scale)}.json"
    if not path.exists():
        return None
    try:
        return Result.from_bytes(read_bytes(path), limit_bytes=MAX_RESULT_BYTES)
    except ValueError as error:
        msg = f"{path}: {error}; run: zoo experiment {name}"
        raise LocalError(msg) from error


def _stem(name: str, scale: Scale) -> str:
    return name if scale == "full" else f"{name}-{scale}"
