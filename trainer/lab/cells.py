"""One cell of the scoreboard: what came of one victim on one path of attack."""

from dataclasses import dataclass

from model_zoo.statements.evaluation import EvaluationReport

ANYTHING = "?"
"""The letter where nothing is promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What came of one victim on one path: refused, or accepted at a cost.

    ``error`` names the refusal; ``sha256`` and ``cost`` speak of the model that the
    victim ended up with. Who ``hung`` was still reading when the adversary had sent all
    that he meant to: no defence ended the attack, which counts as accepted.
    """

    path_of_attack: str
    level: str
    expected: str
    error: str = ""
    message: str = ""
    hung: bool = False
    sha256: str = ""
    cost: EvaluationReport | None = None

    @property
    def accepted(self) -> bool:
        """Whether the victim uses the file, or was outlasted."""
        return not self.error

    @property
    def as_expected(self) -> bool:
        """Whether the cell came out as EXPECTED says."""
        return self.expected in {ANYTHING, "A" if self.accepted else "R"}
