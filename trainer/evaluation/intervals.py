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
FEW = 0.01
"""Where a number is under this there are three decimals: two would double it, or hide
on which side of 0 an interval ends."""
_Z_975 = statistics.NormalDist().inv_cdf(0.975)


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

    def value(self, unit: str = "") -> str:
        """Return the mean with its unit, as text."""
        return f"{self.mean:.{self._decimals()}f} {unit}".rstrip()

    def interval(self) -> str:
        """Return the interval as text; nothing of one seed."""
        if self.low is None or self.high is None:
            return ""
        return f"[{self.low:.{self._decimals()}f}, {self.high:.{self._decimals()}f}]"

    def basis(self) -> str:
        """Return on what it rests, as text."""
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        return f"{seeds}, n = {self.n:,}" if self.n else seeds

    def told(self, unit: str = "") -> str:
        """Return the mean with its unit, its interval, and on what it rests."""
        parts = (self.value(unit), self.interval(), f"({self.basis()})")
        return " ".join(part for part in parts if part)

    def _decimals(self) -> int:
        numbers = (self.mean, self.low or 0, self.high or 0)
        return 3 if any(0 < abs(it) < FEW for it in numbers) else 2

    def __str__(self) -> str:
        return self.told()


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


def difference(
    minuend: Sequence[float], subtrahend: Sequence[float], *, n: int = 0
) -> Estimate:
    """Return how much the first exceeds the second, taken within each seed.

    Pairing takes out what a seed does to both sides alike.

    Args:
        minuend: one value a seed.
        subtrahend: of the same seeds, in the same order.
        n: test samples behind each.
    """
    pairs = zip(minuend, subtrahend, strict=True)
    return estimate([a - b for a, b in pairs], n=n)


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return Spearman's rank correlation in [-1, 1]; equal values share their rank.

    Where one side does not vary there is no order to follow, and it is 0.

    Args:
        xs: at least two.
        ys: as many.

    Source:
        Spearman, "The proof and measurement of association", 1904.
    """
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        return 0.0
    return statistics.correlation(_ranks(xs), _ranks(ys))


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        (sum(other < value for other in values) * 2 + values.count(value) + 1) / 2
        for value in values
    ]


def _t(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t, past the table by its expansion.

    Source:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = _Z_975
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
