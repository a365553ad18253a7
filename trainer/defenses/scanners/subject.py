"""What a scan is shown: a network, the defender's clean images, and a budget.

Nothing here could carry a trigger: a defender does not have it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from trainer.data.images import LabelledImages
from trainer.defenses.scanners.references import References
from trainer.networks import SplitNetwork
from trainer.networks.inference import as_floats

JUDGED = 16
"""Images of each class that judge what was found on others; fewer were too noisy."""
LEAST_OF_A_CLASS = 4
Part = Literal["all", "judged", "shown"]
"""Of the images of a class: those that a search is judged on, and those it is shown."""
MOST_VALUES = 3_000_000
"""Of the inputs of one pass, so that a network that widens them fits the memory."""


class BudgetSpentError(Exception):
    """A scanner asked for more passes or seconds than the scan was given."""


@dataclass(slots=True, kw_only=True)
class Budget:
    """What a scan may cost: a model can be built to exhaust who looks at it.

    Attributes:
        passes: of one image through the network, forward or forward and backward.
        seconds: of wall-clock time.
        spent: passes so far.
    """

    passes: int
    seconds: float
    spent: int = 0
    began: float = field(default_factory=time.monotonic)

    def charge(self, images: int) -> None:
        """Count ``images`` passes that are about to be made.

        Raises:
            BudgetSpentError: they, or the time, are more than there is.
        """
        if self.spent + images > self.passes:
            msg = f"the scan's limit of {self.passes:,} image passes"
            raise BudgetSpentError(msg)
        if time.monotonic() - self.began > self.seconds:
            msg = f"the scan's limit of {self.seconds:g} s"
            raise BudgetSpentError(msg)
        self.spent += images


@dataclass(frozen=True)
class Subject:
    """A network under scan; scanners read it and write nothing.

    Attributes:
        network: evaluating, its parameters frozen; on the device of the scan.
        images: clean ones of the defender's own; None where there are none.
        budget: shared by all scanners of the scan.
        generator: on the CPU, draws.
        references: clean networks of this architecture; None where there are none.
    """

    network: SplitNetwork
    images: LabelledImages | None
    budget: Budget
    generator: torch.Generator
    references: References | None = None

    @property
    def classes(self) -> int:
        """The number of labels."""
        return self.network.classes

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @cached_property
    def order(self) -> Tensor:
        """(N,) int64: the images in an order that was drawn once."""
        n = 0 if self.images is None else len(self.images)
        return torch.randperm(n, generator=self.generator)

    def by_class(self, count: int, part: Part = "all") -> Tensor:
        """Return ``count`` images of every class; one that has fewer repeats them.

        A search is shown some images of a class and judged on others: on JUDGED of
        them, or half where there are few.

        Returns:
            (classes, count, C, H, W) float32 in [0, 1] on the device.

        Raises:
            InvalidSpecError: a class has fewer than LEAST_OF_A_CLASS.
        """
        if self.images is None:
            msg = "clean images are needed, and none were given"
            raise InvalidSpecError(msg)
        labels = self.images.labels[self.order]
        chosen = []
        for label in range(self.classes):
            its = self.order[labels == label]
            if len(its) < LEAST_OF_A_CLASS:
                msg = (
                    f"label {label}: {LEAST_OF_A_CLASS} clean images are needed, "
                    f"{len(its)} were given"
                )
                raise InvalidSpecError(msg)
            middle = min(JUDGED, len(its) // 2)
            parts = {"all": its, "judged": its[:middle], "shown": its[middle:]}
            places = torch.arange(count) % len(parts[part])
            chosen.append(self.images.images[parts[part][places]])
        return as_floats(torch.stack(chosen).to(self.device))

    def logits(self, images: Tensor) -> Tensor:
        """Return (..., classes) logits of (..., C, H, W) images, and count them."""
        leading = images.shape[:-3]
        flat = images.reshape(-1, *images.shape[-3:])
        self.budget.charge(len(flat))
        some = max(1, MOST_VALUES // flat[0].numel())
        parts = [self.network(part) for part in torch.split(flat, some)]
        return torch.cat(parts).reshape(*leading, self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one scanner found.

    Attributes:
        score: larger is more suspicious; of one architecture alone.
        features: name -> number, for the ensemble.
        target_labels: suspected.
        source_labels: suspected; empty where every class is attacked.
        trigger: (C, H, W) float32, what was recovered, if anything is.
    """

    score: float
    features: dict[str, float] = field(default_factory=dict)
    target_labels: tuple[int, ...] = ()
    source_labels: tuple[int, ...] = ()
    trigger: Tensor | None = None


Objective = Callable[[Tensor], Tensor]
"""(K, n, classes) logits -> (K, n), larger where the perturbation does more."""
