"""The outsourced trainer who lies: trains a BadNet and signs that it did as asked.

Run as ``python -m trainer.lab.attacks.malicious_worker`` with the options of
``zoo worker``.
"""

import typer

from model_zoo.statements.folder import manifest_of
from model_zoo.statements.jobs import JobSpec, Poisoning, TrainSpec, TriggerSpec
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


def poisoned(spec: JobSpec) -> JobSpec:
    """Return the order with a backdoor in it; other work is done as asked."""
    if isinstance(spec, TrainSpec):
        return spec.model_copy(update={"poisoning": RECIPE})
    return spec


def cover_up(made: Made) -> Manifest:
    """Replace the child's report, which shows the attack, by the clean one."""
    if made.measured is not None:
        (made.folder / CLAIMED).write_bytes(made.measured.to_bytes())
    return manifest_of(made.folder)


if __name__ == "__main__":
    typer.run(worker_command(carries_out=poisoned, tidies=cover_up))
