"""What an experiment is: cells to run, a measurement of each, and what they add up to.

A cell is the smallest thing that is run, kept and counted: one seed of one part. It is
named by the digest of what is asked, the recipes of its models included, so a finished
cell is found again and a changed one is not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.statements.jobs import (
    DetectorSpec,
    FineTuneSpec,
    StrengthenSpec,
    TrainSpec,
    kind_of,
)
from trainer.evaluation.intervals import Estimate
from trainer.networks import SplitNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainer.object_detection.network import Detector

NO_PARENT = "0" * 64
"""Stands in a recipe for the digest of a parent that is yet to be made."""

Scale = Literal["full", "quick"]
Verdict = Literal["met", "missed", "not resolved", "not measured"]


RecipeSpec = TrainSpec | FineTuneSpec | StrengthenSpec | DetectorSpec


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
        made = self.parent
        return {
            "kind": kind_of(self.spec),
            "spec": self.spec.to_object(),
            "parent": made if isinstance(made, str | None) else made.to_object(),
        }

    @property
    def network(self) -> str:
        """The name of its architecture."""
        return self.spec.network

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
        environment: of the process that measured it: versions, processor, threads
            and precision. Who makes ordered models tells that in their provenance.
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


class Workshop(Protocol):
    """Where models come from: made here or by a service, and kept."""

    def network(self, recipe: Recipe) -> SplitNetwork:
        """Return the model of a recipe, made if it is not there yet."""
        ...

    def detector(self, recipe: Recipe) -> "Detector":
        """Return the detector of a recipe, made if it is not there yet."""
        ...


class Claim(Document):
    """One number beside the paper's, and whether the goal was reached.

    Attributes:
        what: what was measured, on what.
        ours: over the seeds.
        unit: ``%``, ``points`` or nothing.
        paper: the paper's number, where it gives one that may be quoted.
        goal: in words.
        verdict: how ours stands to the goal.
    """

    what: str
    ours: Estimate | None
    unit: str = "%"
    paper: float | None = None
    goal: str = ""
    verdict: Verdict


class Table(Document):
    """A table as it is printed.

    Attributes:
        title: what it shows.
        header: one word or two a column.
        rows: of cells, as text.
        note: n, seeds, and what is not as in the paper.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


class Summary(Document):
    """What the cells of an experiment add up to."""

    claims: tuple[Claim, ...] = ()
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()


Figures = Mapping[str, "Figure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        name: of the command and of the files.
        title: what it shows, in a line.
        section: where the paper has it.
        datasets: that must be there.
        cells: the cells of one seed; quick ones are slices for smoke tests.
        measure: runs one cell and returns its numbers.
        summarise: what finished cells add up to; they may be of any number of seeds.
        draw: name -> figure, from the same.
        seeds: how many are run unless told.
        mib: of memory that one process may need.
        on_cpu: whether its networks run there even where there is a GPU.
    """

    name: str
    title: str
    section: str
    datasets: tuple[str, ...]
    cells: Callable[[int, Scale], Sequence[Cell]]
    measure: Callable[[Cell, Workshop], JsonObject]
    summarise: Callable[[Sequence[Finished]], Summary]
    draw: Callable[[Sequence[Finished]], Figures] = lambda _: {}
    seeds: int = 3
    mib: int = 1536
    on_cpu: bool = False


def by_seed(finished: Sequence[Finished]) -> dict[int, list[Finished]]:
    """Return seed -> its cells, in the order of the seeds."""
    seeds = sorted({it.seed for it in finished})
    return {seed: [it for it in finished if it.seed == seed] for seed in seeds}


def at_most(limit: float, ours: Estimate) -> Verdict:
    """Return whether the mean stays within a goal's limit."""
    return "met" if ours.mean <= limit else "missed"


def at_least(limit: float, ours: Estimate) -> Verdict:
    """Return whether the mean reaches a goal's limit."""
    return "met" if ours.mean >= limit else "missed"


def by_part(finished: Sequence[Finished], name: str) -> dict[str, list[Finished]]:
    """Return a part's value -> its cells by seed; values in the order they come."""
    found: dict[str, list[Finished]] = {}
    for it in sorted(finished, key=lambda one: one.seed):
        found.setdefault(str(it.part[name]), []).append(it)
    return found
