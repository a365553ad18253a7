"""Every path of attack against every level of protection, each cell played."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from model_zoo.digests import sha256_file
from model_zoo.errors import TransportError, VerificationError
from model_zoo.evaluation import EvaluationReport
from trainer.lab.adversary import PATHS_OF_ATTACK
from trainer.lab.scenes import Stage
from trainer.lab.victim import LEVELS

EXPECTED = {
    "page edit": "AAAR",
    "host swap": "AARR",
    "in transit": "ARRR",
    "malicious publisher": "AAAA",
    "stolen key": "AAAA",
}
"""A accepted, R refused, in the order of LEVELS: the promise of this laboratory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What came of one victim on one path: refused, or accepted at a cost.

    ``error`` names the refusal; ``sha256`` and ``cost`` speak of the model that the
    victim ended up with.
    """

    path_of_attack: str
    level: str
    expected: str
    error: str = ""
    message: str = ""
    sha256: str = ""
    cost: EvaluationReport | None = None

    @property
    def accepted(self) -> bool:
        """Whether the victim uses the file."""
        return not self.error

    @property
    def as_expected(self) -> bool:
        """Whether the cell came out as EXPECTED says."""
        return self.accepted == (self.expected == "A")


def play(
    stage: Stage,
    *,
    folder: Path,
    measure: Callable[[Path], EvaluationReport],
    tell: Callable[[Cell], None],
) -> list[Cell]:
    """Play all cells, one after the other, each victim in a folder of its own.

    Args:
        stage: the zoo, the mirror and the actors' keys.
        folder: takes one folder a victim; must be empty.
        measure: weights -> ACC and ASR over the whole test set.
        tell: called with each cell as it ends.
    """
    costs: dict[str, EvaluationReport] = {}
    cells = []
    for path_name, attack in PATHS_OF_ATTACK.items():
        scene = attack(stage)
        for level_name, expected in zip(LEVELS, EXPECTED[path_name], strict=True):
            victim = folder / path_name.replace(" ", "-") / level_name
            victim.mkdir(parents=True)
            cell = Cell(path_of_attack=path_name, level=level_name, expected=expected)
            try:
                weights = LEVELS[level_name](scene, victim)
            except (VerificationError, TransportError) as error:
                cell = replace(cell, error=type(error).__name__, message=str(error))
            else:
                sha256 = sha256_file(weights)
                if sha256 not in costs:
                    costs[sha256] = measure(weights)
                cell = replace(cell, sha256=sha256, cost=costs[sha256])
            tell(cell)
            cells.append(cell)
    return cells
