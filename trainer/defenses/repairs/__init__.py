"""Repairs: a model goes in, a model comes out, hopefully without its backdoor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.fine_pruning import fine_prune
from trainer.installed import Registry
from trainer.networks import SplitNetwork
from trainer.training.fit import Epoch, Runtime

__all__ = ["REPAIRS", "Repair", "Repaired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair made.

    Attributes:
        network: the repaired one; may be the one that was given.
        epochs: of its training, if it trained.
        pruned_units: of the features, in the order in which they were cut.
        files: name -> bytes of what else is to lie beside the weights.
    """

    network: SplitNetwork
    epochs: list[Epoch] = field(default_factory=list)
    pruned_units: tuple[int, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


Repair = Callable[
    [SplitNetwork, LabelledImages, RepairSpec, torch.Generator, Runtime], Repaired
]
"""Network, clean images, what was asked for, what draws, and where to run.

It may write the network, and nothing else of what it is given.
"""


def _fine_pruned(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    units, epochs = fine_prune(
        network,
        clean,
        max_accuracy_loss=spec.max_accuracy_loss,
        schedule=spec.schedule,
        generator=generator,
        runtime=runtime,
    )
    return Repaired(network=network, epochs=epochs, pruned_units=units)


REPAIRS: Registry[Repair] = Registry("repairs", {"fine-pruning": _fine_pruned})
"""One entry under each name of ``model_zoo.statements.recipes.REPAIRS``."""
