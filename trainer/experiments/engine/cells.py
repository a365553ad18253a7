"""Cells: what is asked, named by its digest; and the finished ones, a file each.

A cell is the smallest thing that is run, kept and counted: one seed of one part of an
experiment. Its name covers the recipes of its models, so that a finished cell is found
again and a changed one is not (ADR 24). It is kept as ``cells/EXPERIMENT/DIGEST.json``,
written once: processes that share the folder need no lock (ADR 37).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.errors import LocalError
from model_zoo.statements.jobs import (
    DetectorSpec,
    FineTuneSpec,
    RepairSpec,
    StrengthenSpec,
    TrainSpec,
    kind_of,
)
from trainer.files import read_bytes, write_whole

NO_PARENT = "0" * 64
"""Stands in a recipe for the digest of a parent that is yet to be made."""
CELLS = "cells"
MAX_CELL_BYTES = 4 * 1024 * 1024

Scale = Literal["full", "quick"]
RecipeSpec = TrainSpec | FineTuneSpec | StrengthenSpec | RepairSpec | DetectorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is made: a spec, and how the model it starts from is made.

    Attributes:
        spec: what a job of the service would be told; its ``parent`` is NO_PARENT.
        parent: unless it starts from random weights, how that was made from which it
            starts, or the SHA-256 of a pretrained network's weights file.
    """

    spec: RecipeSpec
    parent: "Recipe | str | None" = None

    def to_object(self) -> JsonObject:
        """Return the recipe as JSON values."""
        parent = self.parent
        return {
            "kind": kind_of(self.spec),
            "spec": self.spec.to_object(),
            "parent": parent.to_object() if isinstance(parent, Recipe) else parent,
        }

    def makes(self) -> set[str]:
        """Return the digests of what is made for it: of its own, and its parents'."""
        above = self.parent.makes() if isinstance(self.parent, Recipe) else set()
        return above | {sha256_bytes(canonical_json(self.to_object()))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One seed of one part of an experiment.

    Attributes:
        experiment: its name.
        part: which part, and all numbers that decide what is measured.
        seed: of every draw.
        recipes: name -> how a model that is measured is made.
        scale: ``quick`` is a smoke version, on a slice of the data.
    """

    experiment: str
    part: Mapping[str, Any]
    seed: int
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    scale: Scale = "full"

    def to_object(self) -> JsonObject:
        """Return what is asked, as JSON values."""
        return {
            "experiment": self.experiment,
            "part": dict(self.part),
            "seed": self.seed,
            "recipes": {name: it.to_object() for name, it in self.recipes.items()},
            "scale": self.scale,
        }

    def digest(self) -> str:
        """Return the name of the cell."""
        return sha256_bytes(canonical_json(self.to_object()))

    def makes(self) -> set[str]:
        """Return the digests of all recipes that are made for it, once each."""
        return {digest for it in self.recipes.values() for digest in it.makes()}

    def __str__(self) -> str:
        parts = [f"{name} {value}" for name, value in self.part.items()]
        return ", ".join([self.experiment, *parts, f"seed {self.seed}"])


class Finished(Document):
    """A cell that was run, as it is kept.

    Attributes:
        cell: its digest.
        part: as in the cell.
        seed: as in the cell.
        numbers: what was measured; counts rather than shares, so that n is known.
        seconds: of processor time here; models that were there already, or that
            somebody else made, are not counted.
        peak_mib: the most memory that its process had held by then.
        environment: of the process that measured it: versions, processor, device,
            threads and precision. Who makes ordered models tells that in their
            provenance.
        data: name of a data set -> its SHA-256, as provenance has it.
        made_by: who made its models; empty if they were made here, or if it has none.
    """

    cell: str
    part: JsonObject
    seed: int
    numbers: JsonObject
    seconds: float
    peak_mib: float
    environment: JsonObject
    data: dict[str, str]
    made_by: str


def find_finished(folder: Path, cells: Sequence[Cell]) -> dict[str, Finished]:
    """Return digest -> those of ``cells`` that ``folder`` holds finished.

    Raises:
        LocalError: a file is damaged; it says which and what to do.
    """
    found = {}
    for cell in cells:
        path = _path(folder, cell)
        if path.exists():
            found[path.stem] = _read(path, cell)
    return found


def keep(folder: Path, cell: Cell, finished: Finished) -> Finished:
    """Write a finished cell in one step, unless it is there; return what stands.

    Raises:
        LocalError: the disk is full, or the file that is there is damaged.
    """
    path = _path(folder, cell)
    if path.exists():
        return _read(path, cell)
    text = json.dumps(finished.to_object(), indent=1, sort_keys=True)
    write_whole(path, f"{text}\n".encode())
    return finished


def require_same_origin(
    cells: Sequence[Cell],
    finished: Mapping[str, Finished],
    *,
    data: Mapping[str, str],
    made_by: str,
) -> None:
    """Make sure that finished cells are what this run would have measured.

    Args:
        cells: that are asked for.
        finished: digest -> those of them that are finished.
        data: name of each of their data sets -> its SHA-256 on this machine.
        made_by: who would make their models now; empty if that is done here.

    Raises:
        LocalError: one was measured on other data, or on models of somebody else.
    """

    def maker(name: str) -> str:
        return f"by {' '.join(name.split())}" if name else "here"

    for cell in cells:
        it = finished.get(cell.digest())
        if it is None:
            continue
        reasons = [
            f"its finished cells were measured on other files of {name} (SHA-256 "
            f"{it.data.get(name)}) than those on this machine ({ours})"
            for name, ours in data.items()
            if it.data.get(name) != ours
        ]
        if cell.recipes and it.made_by != made_by:
            reasons.append(
                "the models of its finished cells were made "
                f"{maker(it.made_by)}, and not {maker(made_by)}"
            )
        if reasons:
            msg = f"{cell.experiment}: {reasons[0]}; run yours with --out FOLDER"
            raise LocalError(msg)


def _path(folder: Path, cell: Cell) -> Path:
    return folder / CELLS / cell.experiment / f"{cell.digest()}.json"


def _read(path: Path, cell: Cell) -> Finished:
    try:
        found = Finished.from_bytes(read_bytes(path), limit_bytes=MAX_CELL_BYTES)
        if (found.cell, found.seed) == (path.stem, cell.seed):
            return found
        reason = "it speaks of another cell"
    except ValueError as error:
        reason = str(error)
    msg = (
        f"{path}: damaged: {reason}; take it back from version control, or remove it "
        "to run its cell again"
    )
    raise LocalError(msg)
