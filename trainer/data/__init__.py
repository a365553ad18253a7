"""Data sets by name, each read into memory as uint8."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from trainer.data.images import LabelledImages
from trainer.data.mnist import (
    CLASSES,
    data_digest,
    ensure_mnist,
    is_mnist_at_hand,
    load_mnist,
)

__all__ = ["DATASETS", "Dataset", "LabelledImages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A registered data set.

    Attributes:
        classes: number of labels.
        digest: SHA-256 of its pins, for provenance.
        load: returns one split, downloading what is not on this machine.
        ensure: downloads what is missing, so that ``load`` needs no network.
        is_at_hand: whether ``load`` needs no network now.
    """

    classes: int
    digest: str
    load: Callable[[Literal["train", "test"]], LabelledImages]
    ensure: Callable[[], None]
    is_at_hand: Callable[[], bool]


DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        classes=CLASSES,
        digest=data_digest(),
        load=load_mnist,
        ensure=ensure_mnist,
        is_at_hand=is_mnist_at_hand,
    )
}
"""One entry under each name of ``model_zoo.jobs.DatasetName``."""
