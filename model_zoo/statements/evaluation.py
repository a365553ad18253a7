"""ACC, ASR and RA with n and interval: numbers, no tensors."""

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from model_zoo.documents import Document

Z_95 = 1.959963984540054
"""The 0.975 quantile of the standard normal distribution."""


class Proportion(Document):
    """``successes`` out of ``n``, a share in [0, 1] that knows how sure it is."""

    successes: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if self.successes > self.n:
            msg = f"{self.successes} successes out of {self.n}"
            raise ValueError(msg)
        return self

    @property
    def rate(self) -> float:
        """The share, in [0, 1]."""
        return self.successes / self.n

    def wilson(self) -> tuple[float, float]:
        """Return the 95 % Wilson score interval of the rate.

        Unlike the normal interval it stays inside [0, 1] and is honest at 0 and 1.

        Source:
            Wilson, "Probable inference", JASA 22 (1927).
        """
        n, p, z2 = self.n, self.rate, Z_95**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        low = 0.0 if self.successes == 0 else centre - half
        high = 1.0 if self.successes == n else centre + half
        return low, high

    def __str__(self) -> str:
        low, high = self.wilson()
        return f"{self.rate:.2%} [{low:.2%}, {high:.2%}] (n = {self.n:,})"


class EvaluationReport(Document):
    """How a model behaves on one test set.

    ``attack_success`` leaves out samples whose true label is the wanted one, so a
    model without a backdoor scores near 0; ``robust_accuracy`` is the share of the
    same samples that get their true label. Both are None where no trigger was used.
    """

    dataset: str
    accuracy: Proportion
    attack_success: Proportion | None = None
    robust_accuracy: Proportion | None = None
