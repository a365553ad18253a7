"""Populations by name: of which networks there are many, and what counts as one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trainer.defenses.scanners import ENSEMBLE
from trainer.experiments.engine.cells import Scale
from trainer.experiments.population.adversaries import adversaries
from trainer.experiments.population.makers import DIGITS, SIGNS
from trainer.experiments.population.members import Member, members
from trainer.experiments.population.updates import ANEW, FINE_TUNED, HEAD, updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Many networks of one architecture and data set.

    Attributes:
        dataset: that they learn from.
        network: their architecture.
        scanners: that a calibration reads.
        held_out: the last training images: the defender's own, from which none learns.
        members: who they are, at a scale.
        beside: population on which it is calibrated, and whose clean members it is
            judged beside; empty for its own.
        usual: kinds of clean members that are not odd.
        least_accuracy: of a member that counts: training diverges now and then.
        least_success: ASR from which an attack counts as a backdoor; one on every
            class succeeds no oftener than the network is right.
    """

    dataset: str
    network: str
    scanners: tuple[str, ...] = ENSEMBLE
    held_out: int
    members: Callable[[Scale], list[Member]]
    beside: str = ""
    usual: tuple[str, ...] = ("clean", "foreign")
    least_accuracy: float
    least_success: float


UPDATE = "update"
"""The one scanner that there is of updates."""
POPULATIONS = {
    "digits": Population(
        dataset=DIGITS.dataset,
        network=DIGITS.network,
        held_out=DIGITS.held_out,
        members=partial(members, DIGITS),
        least_accuracy=0.9,
        least_success=0.9,
    ),
    "signs": Population(
        dataset=SIGNS.dataset,
        network=SIGNS.network,
        held_out=SIGNS.held_out,
        members=partial(members, SIGNS),
        least_accuracy=0.6,
        least_success=0.75,
    ),
    "updates": Population(
        dataset=DIGITS.dataset,
        network=DIGITS.network,
        scanners=(UPDATE,),
        held_out=DIGITS.held_out,
        members=updates,
        usual=(FINE_TUNED, HEAD, ANEW),
        least_accuracy=0.9,
        least_success=0.9,
    ),
    "adversaries": Population(
        dataset=DIGITS.dataset,
        network=DIGITS.network,
        held_out=DIGITS.held_out,
        members=adversaries,
        beside="digits",
        least_accuracy=0.9,
        least_success=0.9,
    ),
}
