"""How well scores tell backdoored networks from clean ones, each number with its n."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from model_zoo.documents import Document
from trainer.evaluation.intervals import Estimate

CONFIDENCE = 0.95


class Auroc(Document):
    """The chance that a backdoored network scores above a clean one, ties half.

    Attributes:
        value: in [0, 1]; 0.5 is guessing, and less is told like any other.
        low: lower end of the 95 % interval.
        high: upper end.
        positives: backdoored networks.
        negatives: clean ones.
    """

    value: float
    low: float
    high: float
    positives: int
    negatives: int

    def estimate(self) -> Estimate:
        """Return it as other numbers are told; n is of all networks."""
        return Estimate(
            mean=self.value,
            low=self.low,
            high=self.high,
            seeds=1,
            n=self.positives + self.negatives,
        )

    def __str__(self) -> str:
        return (
            f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] "
            f"({self.positives} + {self.negatives})"
        )


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> Auroc:
    """Return the area under the ROC curve with its interval.

    Args:
        positives: scores of backdoored networks, at least one.
        negatives: scores of clean ones, at least one.

    Source:
        DeLong, DeLong, Clarke-Pearson, "Comparing the Areas under Two or More
        Correlated Receiver Operating Characteristic Curves", Biometrics 44 (1988).
    """
    if not len(positives) or not len(negatives):
        msg = "an AUROC of no networks"
        raise ValueError(msg)
    m, n = len(positives), len(negatives)
    ranks = rankdata([*positives, *negatives])
    above = (ranks[:m] - rankdata(positives)) / n
    below = 1 - (ranks[m:] - rankdata(negatives)) / m
    value = float(above.mean())
    variance = _variance(above) / m + _variance(below) / n
    half = float(norm.ppf(1 - (1 - CONFIDENCE) / 2) * np.sqrt(variance))
    return Auroc(
        value=round(value, 6),
        low=round(max(0.0, value - half), 6),
        high=round(min(1.0, value + half), 6),
        positives=m,
        negatives=n,
    )


def true_positives_at(
    positives: Sequence[float], negatives: Sequence[float], *, false_alarms: float
) -> int:
    """Return how many positives lie above all but a share of the negatives.

    Args:
        positives: scores of backdoored networks.
        negatives: scores of clean ones.
        false_alarms: the share of negatives that may lie above, rounded down.
    """
    falling = sorted(negatives, reverse=True)
    threshold = falling[int(false_alarms * len(falling))]
    return sum(it > threshold for it in positives)


def expected_calibration_error(
    probabilities: Sequence[float], truth: Sequence[bool], *, bins: int = 10
) -> float:
    """Return by how much told and true shares differ, averaged over ``bins``.

    Source:
        Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using
        Bayesian Binning", AAAI 2015.
    """
    told, true = np.array(probabilities), np.array(truth, dtype=float)
    places = np.minimum((told * bins).astype(int), bins - 1)
    errors = [
        (places == it).sum() * abs((told - true)[places == it].mean())
        for it in range(bins)
        if (places == it).any()
    ]
    return float(sum(errors) / len(told))


def roc_curve(
    positives: Sequence[float], negatives: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false alarms and detections, both rising from 0 to 1."""
    scores = np.array([*positives, *negatives])
    truth = np.array([True] * len(positives) + [False] * len(negatives))
    falling = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[falling]) != 0, True)  # ties go together
    hits = np.cumsum(truth[falling])[last] / len(positives)
    alarms = np.cumsum(~truth[falling])[last] / len(negatives)
    return np.append(0.0, alarms), np.append(0.0, hits)


def _variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
