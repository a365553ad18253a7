"""What every registered data set is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from trainer.data.images import LabelledImages

Split = Literal["train", "test"]

SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A registered data set.

    Attributes:
        classes: number of labels.
        digest: returns the SHA-256 that provenance records, of what is on this
            machine.
        load: returns one split, downloading what is not on this machine.
        ensure: downloads what is missing, so that ``load`` needs no network.
        is_at_hand: whether ``load`` needs no network now.
        origin: who downloads it, and from where, in words.
        is_fetched: whether ``ensure`` can download it; else the user does.
    """

    classes: int
    digest: Callable[[], str]
    load: Callable[[Split], LabelledImages]
    ensure: Callable[[], None]
    is_at_hand: Callable[[], bool]
    origin: str
    is_fetched: bool
