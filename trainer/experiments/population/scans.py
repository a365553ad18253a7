"""``population-scans``: what every scanner measures on every member.

Data: the defender's own 3,000 images, the last of MNIST's training set, from which no
member learned. Numbers: the features of each scanner, what they cost, and the open map,
which the report compares to those of clean members. The scanners are shown weights and
those images; whether a member is backdoored they are not told.
"""

from collections.abc import Iterator
from functools import cache

from model_zoo.canonical import JsonObject
from trainer.data import DATASETS, LabelledImages
from trainer.defenses.scanners import SCANNERS
from trainer.defenses.scanners.references import packed
from trainer.defenses.scanners.scan import Request, scan
from trainer.defenses.scanners.weights import open_rows
from trainer.experiments.engine.cells import Cell, Scale
from trainer.experiments.engine.experiment import Experiment, Part
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.population.members import HELD_OUT, members
from trainer.experiments.population.yields import MEMBER, no_summary

VERSION = 2
"""Of what scanners measure: one more, and every member is scanned anew."""
REFERENCE_MAP = "reference-map"
"""The one scanner that cannot run before all are seen: the report does what it does."""


def _parts(_: int, scale: Scale) -> Iterator[Part]:
    for member in members(scale):
        part = {**member.part(), "scanners": VERSION}
        yield part, {MEMBER: member.recipe}


@cache
def _clean() -> LabelledImages:
    return DATASETS["mnist"].load("train").last(HELD_OUT)


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    network = models.network(cell.recipes[MEMBER])
    request = Request(
        network=cell.recipes[MEMBER].spec.network,
        dataset="mnist",
        files=(),
        scanners=[name for name in SCANNERS if name != REFERENCE_MAP],
        passes=10**7,
        seconds=24 * 3600,
    )
    found = scan(network, _clean(), request).report
    rows = open_rows(network).flatten(1).double().cpu().numpy()
    return {
        "scanners": [it.to_object() for it in found.scanners],
        "open_map": packed(rows),
    }


EXPERIMENT = Experiment(
    name="population-scans",
    title="What scanners measure on every member of the population",
    section="-",
    datasets=("mnist",),
    parts=_parts,
    measure=_measure,
    summarise=no_summary,
    seeds=1,
    mib=900,
)
