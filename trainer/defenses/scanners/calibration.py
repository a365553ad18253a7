"""Calibration: from what scanners measured to a probability, and back to a verdict.

A calibration is of one architecture and data set, made on networks of known truth: see
``trainer.experiments.population``. It is a logistic regression that no feature can
lower: nothing about a network speaks for its innocence.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from scipy import optimize

from model_zoo.documents import Document
from trainer.defenses.scanners.references import Numbers, References

LOWEST, HIGHEST = -2.0, 8.0
"""Standardised features are cut there: one of them alone is not to decide."""
PENALTY = 1.0
DECIMALS = 9
FALSE_ALARMS = 0.01
"""Share of the calibration's clean networks that may be called suspicious."""
MAX_BYTES = 4 * 1024 * 1024

Truth = NDArray[np.bool_]


class Calibration(Document):
    """How features become a probability, for one architecture and data set.

    Attributes:
        network: the architecture.
        dataset: what its networks were trained on.
        features: names, in the order of the numbers below.
        centre: of each, over clean networks, after ``sign(x) log(1 + |x|)``.
        spread: of each, likewise.
        weights: of each, not negative.
        bias: of the logistic regression.
        clean: scores of the clean networks, rising; each was scored by a regression
            that had not seen it.
        threshold: the score from which a network is suspicious.
        backdoored: how many backdoored networks it was made on.
        references: its clean networks, which others' weights are compared to.
    """

    network: str
    dataset: str
    features: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    clean: tuple[float, ...]
    threshold: float
    backdoored: int
    references: References | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        columns = {len(self.features), len(self.centre), len(self.spread)}
        if columns != {len(self.weights)} or not self.clean:
            msg = "a calibration: expected one number of each kind a feature"
            raise ValueError(msg)
        return self

    def score(self, features: Mapping[str, float]) -> float:
        """Return the log-odds of a backdoor.

        Raises:
            KeyError: a feature is not there.
        """
        row = _squeezed([[features[name] for name in self.features]])
        row = _standardised(row, self.centre, self.spread)
        return float(row[0] @ np.array(self.weights) + self.bias)

    def probability(self, score: float) -> float:
        """Return how likely a network with that score is backdoored."""
        return float(1 / (1 + np.exp(-score)))

    def p_value(self, score: float) -> float:
        """Return the share of clean networks, this one included, with such a score.

        Source:
            Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005,
            section 2.2: a conformal p-value, valid for exchangeable networks.
        """
        above = sum(it >= score for it in self.clean)
        return (above + 1) / (len(self.clean) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A network of known truth: what was measured, and whether it is backdoored."""

    features: Mapping[str, float]
    backdoored: bool


FOLDS = 10


def calibrate(
    known: Sequence[Known],
    names: Sequence[str],
    *,
    network: str,
    dataset: str,
    references: References | None = None,
) -> Calibration:
    """Return the calibration that ``known`` networks give.

    The scores of clean networks, from which threshold and p-values come, are
    those of regressions that did not see them, fold by fold.

    Raises:
        ValueError: there are fewer clean or backdoored networks than folds.
    """
    rows = _squeezed([[it.features[name] for name in names] for it in known])
    truth = np.array([it.backdoored for it in known], dtype=bool)
    if min(truth.sum(), (~truth).sum()) < FOLDS:
        msg = f"expected at least {FOLDS} clean and {FOLDS} backdoored networks"
        raise ValueError(msg)
    fold = np.empty(len(truth), dtype=int)
    for value in (False, True):
        fold[truth == value] = np.arange((truth == value).sum()) % FOLDS
    unseen = np.empty(len(truth))
    for number in range(FOLDS):
        fitted = _fitted(rows[fold != number], truth[fold != number])
        unseen[fold == number] = fitted.scores(rows[fold == number])
    whole = _fitted(rows, truth)
    clean = np.sort(unseen[~truth])
    allowed = math.floor(FALSE_ALARMS * (len(clean) + 1))
    return Calibration(
        network=network,
        dataset=dataset,
        features=tuple(names),
        centre=_rounded(whole.centre),
        spread=_rounded(whole.spread),
        weights=_rounded(whole.weights),
        bias=round(whole.bias, 9),
        clean=_rounded(clean),
        # never under even odds: nobody understands a suspicion of 10 %
        threshold=round(max(0.0, float(clean[-1 - allowed]) + 1e-6), 6),
        backdoored=int(truth.sum()),
        references=references,
    )


@functools.cache
def calibrations(
    package: str = "trainer.defenses.scanners",
) -> dict[tuple[str, str], Calibration]:
    """Return (network, data set) -> calibration, of all that come with ``package``."""
    folder = resources.files(package).joinpath("calibrations")
    found = [
        Calibration.from_bytes(it.read_bytes(), limit_bytes=MAX_BYTES)
        for it in (folder.iterdir() if folder.is_dir() else ())
        if it.name.endswith(".json")
    ]
    return {(it.network, it.dataset): it for it in found}


@dataclass(frozen=True, slots=True)
class _Fitted:
    centre: Numbers
    spread: Numbers
    weights: Numbers
    bias: float

    def scores(self, rows: Numbers) -> Numbers:
        shown = _standardised(rows, self.centre, self.spread)
        scores: Numbers = shown @ self.weights + self.bias
        return scores


def _fitted(rows: Numbers, truth: Truth) -> _Fitted:
    """Fit the regression; rows are (N, F) squeezed, truth is (N,) bool."""
    clean = rows[~truth]
    centre = np.median(clean, axis=0)
    spread = np.maximum(clean.std(axis=0), 1e-6)
    shown = _standardised(rows, centre, spread)
    sign = np.where(truth, 1.0, -1.0)

    def loss(point: Numbers) -> tuple[float, Numbers]:
        weights, bias = point[:-1], point[-1]
        margin = sign * (shown @ weights + bias)
        value = np.logaddexp(0, -margin).sum() + PENALTY / 2 * weights @ weights
        pull = -sign / (1 + np.exp(margin))
        return float(value), np.append(shown.T @ pull + PENALTY * weights, pull.sum())

    bounds = [(0, None)] * rows.shape[1] + [(None, None)]
    start = np.zeros(rows.shape[1] + 1)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return _Fitted(centre, spread, found.x[:-1], float(found.x[-1]))


def _squeezed(rows: Sequence[Sequence[float]]) -> Numbers:
    values = np.array(rows, dtype=float)
    squeezed: Numbers = np.sign(values) * np.log1p(np.abs(values))
    return squeezed


def _standardised(
    rows: Numbers, centre: Sequence[float] | Numbers, spread: Sequence[float] | Numbers
) -> Numbers:
    shown: Numbers = (rows - np.array(centre)) / np.array(spread)
    return shown.clip(LOWEST, HIGHEST)


def _rounded(values: Numbers) -> tuple[float, ...]:
    return tuple(round(float(it), DECIMALS) for it in values)
