"""An experiment: which cells, the numbers of one, and what they add up to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from model_zoo.canonical import JsonObject
from model_zoo.documents import Document
from trainer.evaluation.intervals import Estimate
from trainer.experiments.engine.cells import Cell, Finished, Recipe, Scale
from trainer.experiments.engine.models import ModelCache

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["met", "missed", "not resolved", "not measured"]


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
Part = tuple[Mapping[str, Any], Mapping[str, Recipe]]
"""What decides a cell's numbers, and name -> how a model that it measures is made."""


def no_figures(_: Sequence[Finished]) -> Figures:
    """Return no figure."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One table or figure of the paper; its module's docstring is the method section.

    Its functions are those of a module: worker processes find them by name.

    Attributes:
        name: of the command and of the files.
        title: what it shows, in a line.
        section: where the paper has it.
        datasets: that must be there.
        parts: of one seed; quick ones are slices for smoke tests.
        measure: runs one cell, on the device of the models, and returns its numbers.
        summarise: what finished cells add up to; they may be of any number of seeds.
        draw: name -> figure, from the same.
        seeds: how many are run by default.
        mib: of memory that one process may need.
        on_cpu: whether its networks run there even where there is a GPU.
    """

    name: str
    title: str
    section: str
    datasets: tuple[str, ...]
    parts: Callable[[int, Scale], Iterable[Part]]
    measure: Callable[[Cell, ModelCache], JsonObject]
    summarise: Callable[[Sequence[Finished]], Summary]
    draw: Callable[[Sequence[Finished]], Figures] = no_figures
    seeds: int = 3
    mib: int = 1536
    on_cpu: bool = False

    def cells(self, seed: int, scale: Scale) -> list[Cell]:
        """Return the cells of one seed.

        Raises:
            LocalError: a smoke version is of a slice of data that are not there.
        """
        return [
            Cell(
                experiment=self.name, part=part, seed=seed, recipes=recipes, scale=scale
            )
            for part, recipes in self.parts(seed, scale)
        ]
