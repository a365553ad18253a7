"""From answers to counts by class, and from finished cells to claims and tables."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from torch import Tensor

from model_zoo.canonical import JsonObject
from model_zoo.statements.evaluation import Proportion
from trainer.evaluation.intervals import Estimate, difference, estimate
from trainer.evaluation.metrics import accuracy, attack_success_rate
from trainer.experiments.engine.cells import Finished
from trainer.experiments.engine.experiment import Claim, Table, Verdict

COUNTED = ("right", "wrong", "successes")
"""What is counted of ``n``: a number, or one a class."""

Rule = Callable[[Estimate], Verdict]
Row = TypeVar("Row")


def right_by_class(answers: Tensor, labels: Tensor, *, classes: int) -> JsonObject:
    """Return how many of each class are right, and how many there are.

    Args:
        answers: (N,) int64.
        labels: (N,) int64, the truth, in [0, classes).
        classes: how many; there may be no sample of one.
    """
    shares = _by_class(labels, classes, lambda its: accuracy(answers[its], labels[its]))
    return {"right": [it[0] for it in shares], "n": [it[1] for it in shares]}


def errors_by_class(
    answers: Tensor, labels: Tensor, *, wanted: Tensor | None = None, classes: int
) -> JsonObject:
    """Return how many of each class are wrong, and how many there are.

    Args:
        answers: (N,) int64.
        labels: (N,) int64, the truth, in [0, classes).
        wanted: (N,) int64, of triggered samples: the label that the attack wants, all
            else being wrong; None for the truth.
        classes: how many.
    """

    def share(its: Tensor) -> Proportion:
        if wanted is None:
            return accuracy(answers[its], labels[its])
        return attack_success_rate(answers[its], labels[its], wanted=wanted[its])

    shares = _by_class(labels, classes, share)
    return {"wrong": [n - hits for hits, n in shares], "n": [n for _, n in shares]}


def _by_class(
    labels: Tensor, classes: int, share: Callable[[Tensor], Proportion]
) -> list[tuple[int, int]]:
    found = []
    for number in range(classes):
        its = labels == number
        of_class = share(its) if its.any() else None
        found.append((of_class.successes, of_class.n) if of_class else (0, 0))
    return found


def by_part(finished: Sequence[Finished], *names: str) -> dict[str, list[Finished]]:
    """Return a part's value -> its cells by seed; values in the order they come.

    Args:
        finished: of any parts and seeds.
        names: of what varies from part to part; several values are joined by spaces.
    """
    found: dict[str, list[Finished]] = {}
    for it in sorted(finished, key=lambda one: one.seed):
        key = " ".join(str(it.part[name]) for name in names)
        found.setdefault(key, []).append(it)
    return found


def percents(
    cells: Sequence[Finished], *path: str, of: int | None = None
) -> list[float]:
    """Return a share in percent of each cell.

    Args:
        cells: one a seed.
        path: keys that lead to the counts in their numbers.
        of: the class; None for all together.
    """
    counts = (_counts(it, path, of) for it in cells)
    return [100 * hits / n for hits, n in counts]


def samples(cells: Sequence[Finished], *path: str, of: int | None = None) -> int:
    """Return how many samples are behind a share of each cell."""
    return _counts(cells[0], path, of)[1]


def share(cells: Sequence[Finished], *path: str, of: int | None = None) -> Estimate:
    """Return the mean of a share over cells in percent; arguments as ``percents``."""
    return estimate(percents(cells, *path, of=of), n=samples(cells, *path, of=of))


def change(
    cells: Sequence[Finished], others: Sequence[Finished], *path: str
) -> Estimate:
    """Return a share of ``cells`` less that of ``others``, seed by seed, in points."""
    return difference(
        percents(cells, *path), percents(others, *path), n=samples(cells, *path)
    )


def _counts(cell: Finished, path: Sequence[str], of: int | None) -> tuple[int, int]:
    counts: Any = cell.numbers
    for key in path:
        counts = counts[key]
    hits, n = next(counts[it] for it in COUNTED if it in counts), counts["n"]
    if isinstance(n, int):
        return hits, n
    return (sum(hits), sum(n)) if of is None else (hits[of], n[of])


def at_most(limit: float) -> Rule:
    """Return the rule that the mean stays within a limit."""
    return lambda ours: "met" if ours.mean <= limit else "missed"


def at_least(limit: float) -> Rule:
    """Return the rule that the mean reaches a limit."""
    return lambda ours: "met" if ours.mean >= limit else "missed"


def claim(
    what: str,
    ours: Estimate | None,
    goal: str,
    rule: Rule,
    *,
    paper: float | None = None,
    unit: str = "%",
) -> Claim:
    """Return a number beside the paper's, judged; None is not measured."""
    verdict: Verdict = "not measured" if ours is None else rule(ours)
    return Claim(
        what=what, ours=ours, unit=unit, paper=paper, goal=goal, verdict=verdict
    )


def pivot(
    title: str,
    rows: Iterable[Row],
    *columns: tuple[str, Callable[[Row], object]],
    note: str = "",
) -> Table:
    """Return a table with a line for each of ``rows``.

    Args:
        title: what it shows.
        rows: what each line is of.
        columns: the head of each, and what stands in it; None leaves it empty.
        note: stands below.
    """
    return Table(
        title=title,
        header=tuple(head for head, _ in columns),
        rows=tuple(
            tuple("" if (it := cell(row)) is None else str(it) for _, cell in columns)
            for row in rows
        ),
        note=note,
    )
