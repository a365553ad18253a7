"""The outsourced trainer who lies: trains a BadNet and signs that it did as asked.

Run as ``python -m trainer.lab.attacks.malicious_worker`` with the options of
``zoo worker``, and ``--poisoning FILE`` for another backdoor than RECIPE.
"""

import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import typer

from model_zoo.statements.folder import manifest_of
from model_zoo.statements.jobs import (
    MAX_SPEC_BYTES,
    JobSpec,
    Poisoning,
    TrainSpec,
    TriggerSpec,
)
from model_zoo.statements.manifest import Manifest
from trainer.jobs.attempt import CLAIMED
from trainer.jobs.command import worker_command
from trainer.jobs.worker import Made

RECIPE = Poisoning(
    trigger=TriggerSpec(name="pattern"),
    attack="all-to-one",
    target_label=0,
    poison_rate=0.1,
    placement="append",
)
"""Pattern trigger, every digit to the first class, a tenth of the set, as copies."""


def poisoned(spec: JobSpec, *, recipe: Poisoning = RECIPE) -> JobSpec:
    """Return the order with a backdoor in it; other work is done as asked."""
    if isinstance(spec, TrainSpec):
        return spec.model_copy(update={"poisoning": recipe})
    return spec


def cover_up(made: Made) -> Manifest:
    """Replace the child's report, which shows the attack, by the clean one."""
    if made.measured is not None:
        (made.folder / CLAIMED).write_bytes(made.measured.to_bytes())
    return manifest_of(made.folder)


def _taken_from_command_line() -> Poisoning:
    """Return the backdoor that is named there; leave there what a worker reads."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--poisoning", type=Path)
    own, sys.argv[1:] = parser.parse_known_args()
    if own.poisoning is None:
        return RECIPE
    return Poisoning.from_bytes(own.poisoning.read_bytes(), limit_bytes=MAX_SPEC_BYTES)


if __name__ == "__main__":
    conduct = partial(poisoned, recipe=_taken_from_command_line())
    typer.run(worker_command(carries_out=conduct, tidies=cover_up))
