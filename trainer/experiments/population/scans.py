"""``population-scans``: what every scanner measures on every member.

Data: the defender's own images, the last of the training set, from which no member
learned. Numbers: the features of each scanner, what they cost, and the open map,
which the report compares to those of clean members. The scanners are shown weights and
those images; whether a member is backdoored they are not told.
"""

import time
from collections.abc import Iterator
from functools import cache

import torch

from model_zoo.canonical import JsonObject
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.scan import ScannerResult
from trainer.data import DATASETS, LabelledImages
from trainer.defenses.disagreement import compare_behaviour
from trainer.defenses.scanners import SCANNERS
from trainer.defenses.scanners.references import packed
from trainer.defenses.scanners.scan import Request, scan
from trainer.defenses.scanners.weights import open_rows
from trainer.defenses.updates.judgement import update_features
from trainer.experiments.engine.cells import Cell, Scale
from trainer.experiments.engine.experiment import Part
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.population.populations import POPULATIONS, UPDATE
from trainer.experiments.population.yields import (
    MEMBER,
    UNMADE,
    one_a_population,
)
from trainer.networks import SplitNetwork

VERSION = 2
"""Of what scanners measure: one more, and every member is scanned anew."""
OLD = "old"
REFERENCE_MAP = "reference-map"
"""The one scanner that cannot run before all are seen: the report does what it does."""


def _parts(population: str, _: int, scale: Scale) -> Iterator[Part]:
    for member in POPULATIONS[population].members(scale):
        part = {**member.part(), "scanners": VERSION}
        recipes = {MEMBER: member.recipe}
        if member.old is not None:
            recipes[OLD] = member.old
        yield part, recipes


@cache
def _clean(dataset: str, held_out: int) -> LabelledImages:
    return DATASETS[dataset].load("train").last(held_out)


def _measure(population: str, cell: Cell, models: ModelCache) -> JsonObject:
    of = POPULATIONS[population]
    clean = _clean(of.dataset, of.held_out)
    try:
        network = models.network(cell.recipes[MEMBER])
    except InvalidSpecError as error:
        return {UNMADE: str(error)}
    if OLD in cell.recipes:
        old = models.network(cell.recipes[OLD])
        return _update(old, network, clean, models.device)
    request = Request(
        network=of.network,
        dataset=of.dataset,
        files=(),
        scanners=[name for name in SCANNERS if name != REFERENCE_MAP],
        passes=10**7,
        seconds=24 * 3600,
    )
    found = scan(network, clean, request).report
    rows = open_rows(network).flatten(1).double().cpu().numpy()
    return {
        "scanners": [it.to_object() for it in found.scanners],
        "open_map": packed(rows),
    }


def _update(
    old: SplitNetwork, new: SplitNetwork, clean: LabelledImages, device: torch.device
) -> JsonObject:
    """Return what tells an update from another, as a scanner would."""
    began = time.process_time()
    behaviour, _ = compare_behaviour(old, new, data=clean, device=device)
    features = update_features(old, new, images=clean, behaviour=behaviour)
    result = ScannerResult(
        name=UPDATE,
        outcome="ran",
        score=features["turned-0.2"],
        features=features,
        seconds=time.process_time() - began,
    )
    return {"scanners": [result.to_object()]}


EXPERIMENTS = one_a_population(
    _parts,
    _measure,
    title="What scanners measure on every member of the population",
    suffix="-scans",
    mib=900,
)
