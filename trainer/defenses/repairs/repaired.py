"""What a repair is given, and what it gives back.

A defender has a network, a few clean images and time. Nothing here could carry a
trigger, and nothing under ``trainer.defenses`` imports ``trainer.attacks``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.networks import SplitNetwork
from trainer.training.fit import Epoch, Runtime


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
