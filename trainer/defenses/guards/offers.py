"""Offers: which guard was measured to work on which data set.

A guard is offered for a data set if on the attack that it sees worst its AUROC is over
LEAST_AUROC. ``measured.json`` has the rows that ``python -m benchmarks samples`` prints
as ``measured``.
"""

import functools
from importlib import resources

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError

LEAST_AUROC = 0.9
MEASURED_NAME = "measured.json"
MAX_BYTES = 1024 * 1024


class Measured(Document):
    """How a guard tells triggered from clean test images where it does worst.

    Attributes:
        guard: which.
        dataset: of the images and networks.
        network: the architecture.
        networks: that were measured.
        attack: on which the AUROC is least.
        auroc: of that attack, over images: in [0, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        triggered: images behind it.
        clean: images behind it.
    """

    guard: str
    dataset: str
    network: str
    networks: int
    attack: str
    auroc: float
    low: float
    high: float
    triggered: int
    clean: int

    @property
    def is_offered(self) -> bool:
        """Whether it does well enough."""
        return self.auroc > LEAST_AUROC


class _Table(Document):
    rows: tuple[Measured, ...]


@functools.cache
def measured() -> dict[tuple[str, str], Measured]:
    """Return guard and data set -> what was measured."""
    file = resources.files(__package__) / MEASURED_NAME
    table = _Table.from_bytes(file.read_bytes(), limit_bytes=MAX_BYTES)
    return {(it.guard, it.dataset): it for it in table.rows}


def require_offer(guard: str, dataset: str) -> Measured:
    """Return what was measured of a guard that is offered for ``dataset``.

    Raises:
        InvalidSpecError: it does not do well enough, or was never measured there.
    """
    found = measured().get((guard, dataset))
    if found is not None and found.is_offered:
        return found
    others = [it.guard for it in measured().values() if _is_for(it, dataset)]
    instead = f"; offered there: {', '.join(others)}" if others else ""
    if found is None:
        msg = f"{guard} was not measured on {dataset}, and is not offered{instead}"
    else:
        msg = (
            f"{guard} is not offered for {dataset}: its AUROC was {found.auroc:.3f} "
            f"on {found.attack}, not over {LEAST_AUROC}{instead}"
        )
    raise InvalidSpecError(msg)


def _is_for(it: Measured, dataset: str) -> bool:
    return it.dataset == dataset and it.is_offered
