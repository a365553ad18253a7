"""Means over seeds with their intervals, and how two of them compare."""

import math
import statistics
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from model_zoo.documents import Document

_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""The 0.975 quantile of Student's t for 1, 2, … degrees of freedom.

Source: Student, "The probable error of a mean", Biometrika 6 (1908); standard tables.
"""
_Z_975 = 1.960


class Estimate(Document):
    """A mean over seeds with its 95 % interval; one seed has no interval.

    Attributes:
        mean: of the values.
        low: lower end, by Student's t; None for one seed.
        high: upper end.
        seeds: how many values.
        n: test samples behind each value; 0 where that says nothing.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: Annotated[int, Field(ge=1)]
    n: Annotated[int, Field(ge=0)] = 0

    def __str__(self) -> str:
        interval = (
            "" if self.low is None else f" [{self.low:.2f}, {self.high or 0:.2f}]"
        )
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        return (
            f"{self.mean:.2f}{interval} ({seeds}{f', n = {self.n:,}' * bool(self.n)})"
        )


def estimate(values: Sequence[float], *, n: int = 0) -> Estimate:
    """Return the mean of one value a seed, with its 95 % interval by Student's t.

    Args:
        values: at least one.
        n: test samples behind each.
    """
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(mean=mean, low=None, high=None, seeds=1, n=n)
    half = _t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(
        mean=mean, low=mean - half, high=mean + half, seeds=len(values), n=n
    )


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return Spearman's rank correlation in [-1, 1]; equal values share their rank.

    Source:
        Spearman, "The proof and measurement of association", 1904.
    """
    return statistics.correlation(_ranks(xs), _ranks(ys))


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        (sum(other < value for other in values) * 2 + values.count(value) + 1) / 2
        for value in values
    ]


def _t(freedom: int) -> float:
    return _T_975[freedom - 1] if freedom <= len(_T_975) else _Z_975
