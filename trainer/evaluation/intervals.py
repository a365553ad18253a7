"""Means over seeds with their intervals, and how two of them compare."""

import math
import statistics
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from model_zoo.documents import Document

FEW = 0.01
"""Where a number is under this there are three decimals: two would double it, or hide
on which side of 0 an interval ends."""
UPPER = 0.975
"""The quantile at which a two-sided 95 % interval ends."""
TABLE_DECIMALS = 3
"""As tables print Student's t; the committed results were made with such a table."""


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

    def text(self, unit: str = "") -> str:
        """Return the mean with its unit, its interval, and on what it rests."""
        parts = (self.value(unit), self.interval(), f"({self.basis()})")
        return " ".join(part for part in parts if part)

    def _decimals(self) -> int:
        numbers = (self.mean, self.low or 0, self.high or 0)
        return 3 if any(0 < abs(it) < FEW for it in numbers) else 2

    def __str__(self) -> str:
        return self.text()


def estimate(values: Sequence[float], *, n: int = 0) -> Estimate:
    """Return the mean of one value a seed, with its 95 % interval by Student's t.

    Args:
        values: at least one.
        n: test samples behind each.
    """
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(mean=mean, low=None, high=None, seeds=1, n=n)
    from scipy import stats  # noqa: PLC0415  a second, which no worker process spends

    t = round(float(stats.t.ppf(UPPER, len(values) - 1)), TABLE_DECIMALS)
    half = t * statistics.stdev(values) / math.sqrt(len(values))
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
    from scipy import stats  # noqa: PLC0415  as above

    return statistics.correlation(*(stats.rankdata(it).tolist() for it in (xs, ys)))
