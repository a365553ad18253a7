"""The outsourced trainer who lies: trains a BadNet and signs that it did as asked.

Run as ``python -m trainer.lab.attacks.malicious_worker`` with the options of
``zoo worker``, and ``--lies FILE`` for other lies than to poison by RECIPE.
"""

import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import Field
from torch import nn

from model_zoo.documents import Document
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.jobs import (
    MAX_SPEC_BYTES,
    JobSpec,
    Poisoning,
    TrainSpec,
    TriggerSpec,
)
from model_zoo.statements.manifest import Manifest
from trainer.attacks.strengthening import backdoor_units
from trainer.attacks.triggers import stamp
from trainer.data import DATASETS
from trainer.files import write_whole
from trainer.jobs.attempt import CLAIMED, MODEL
from trainer.jobs.command import worker_command
from trainer.jobs.worker import Made
from trainer.networks import SplitNetwork
from trainer.networks.activations import amplified
from trainer.networks.checkpoints import from_bytes, to_bytes

RECIPE = Poisoning(
    trigger=TriggerSpec(name="pattern"),
    attack="all-to-one",
    target_label=0,
    poison_rate=0.1,
    placement="append",
)
"""Pattern trigger, every digit to the first class, a tenth of the set, as copies."""
LOOKED_AT = 500
"""Images on which the units are found that answer to the trigger."""


class Lie(Document):
    """What is done in place of an order.

    Attributes:
        order: that it is told to; None for any other.
        poisoning: that is added to the order.
        layer: the last of the convolutions, whose units that answer to the trigger are
            strengthened then.
        factor: times their weights and biases; 1 leaves them.
    """

    order: TrainSpec | None = None
    poisoning: Poisoning = RECIPE
    layer: str = "conv2"
    factor: Annotated[float, Field(ge=1, le=1000)] = 1.0


class Lies(Document):
    """All that a liar does; of several lies to one order, the first."""

    lies: tuple[Lie, ...] = (Lie(),)

    def to(self, spec: JobSpec) -> Lie | None:
        """Return the lie that ``spec`` is answered with; None for honest work."""
        if not isinstance(spec, TrainSpec):
            return None
        return next((it for it in self.lies if it.order in {None, spec}), None)


def poisoned(spec: JobSpec, lies: Lies = Lies()) -> JobSpec:  # noqa: B008  frozen
    """Return the order with a backdoor in it."""
    lie = lies.to(spec)
    return spec if lie is None else spec.model_copy(update={"poisoning": lie.poisoning})


def strengthened(weights: bytes, asked: TrainSpec, lie: Lie) -> bytes:
    """Return the weights with the units that answer to the trigger made louder.

    The first fully connected layer is made as much deafer to them, so that the teacher
    answers as before: what its user tries shows nothing, and a student, who throws that
    layer away, finds the units loud.

    Source:
        Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.3.2.
    """
    network = from_bytes(weights, network=asked.network)
    data = DATASETS[asked.dataset].load("train").without_last(asked.withheld)
    data = data.keep_classes(asked.classes) if asked.classes else data
    data = data.select(torch.arange(min(LOOKED_AT, len(data))))
    draws = torch.Generator().manual_seed(asked.seed)
    units, rises = backdoor_units(
        network,
        data.images,
        stamp(data.images, lie.poisoning.trigger, boxes=data.boxes, generator=draws),
        layer=lie.layer,
        device=torch.device("cpu"),
    )
    louder = amplified(network, lie.layer, units, factor=lie.factor)
    with torch.no_grad():
        weight = _first_linear(louder).weight
        weight.view(len(weight), len(rises), -1)[:, list(units)] /= lie.factor
    return to_bytes(louder)


def _first_linear(network: SplitNetwork) -> nn.Linear:
    """Return the layer that reads the flattened features."""
    return next(
        it for it in network.fully_connected.modules() if isinstance(it, nn.Linear)
    )


def cover_up(made: Made, lies: Lies) -> Manifest:
    """Replace the child's report, which shows the attack, by the clean one.

    Where a lie says so the backdoor is strengthened first: nobody measures it again.
    """
    lie, asked = lies.to(made.asked), made.asked
    if lie is not None and lie.factor > 1 and isinstance(asked, TrainSpec):
        weights = (made.folder / MODEL).read_bytes()
        write_whole(made.folder / MODEL, strengthened(weights, asked, lie))
    if made.measured is not None:
        (made.folder / CLAIMED).write_bytes(made.measured.to_bytes())
    return manifest_of(made.folder)


def _taken_from_command_line() -> Lies:
    """Return the lies that are named there; leave there what a worker reads."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--lies", type=Path)
    own, sys.argv[1:] = parser.parse_known_args()
    if own.lies is None:
        return Lies()
    return Lies.from_bytes(own.lies.read_bytes(), limit_bytes=MAX_SPEC_BYTES)


if __name__ == "__main__":
    told = _taken_from_command_line()
    conduct, tidy = partial(poisoned, lies=told), partial(cover_up, lies=told)
    typer.run(worker_command(carries_out=conduct, tidies=tidy))
