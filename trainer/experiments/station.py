"""A process that runs cells: ``python -m trainer.experiments.station FOLDER``.

It reads one order a line and answers each with a line. Data sets and models stay in
memory between orders, and one thread a process is both the fastest on a CPU with as
many processes as cores, and the same bits everywhere.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from model_zoo.canonical import JsonObject
from model_zoo.errors import ZooError
from trainer.devices import choose_device, environment
from trainer.experiments import EXPERIMENTS
from trainer.experiments.contract import Cell, Finished, Scale
from trainer.experiments.workshop import LocalWorkshop

KIB_PER_MIB = 1024


def main() -> None:
    """Run what stdin orders until it ends; models lie in the folder of argument one."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    workshop = LocalWorkshop(folder=folder)
    # what is printed by anybody goes to stderr: stdout carries answers only
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line), workshop)) + "\n")
        answers.flush()


def find_cell(experiment: str, *, seed: int, scale: Scale, digest: str) -> Cell:
    """Return the cell of that digest.

    Raises:
        KeyError: the experiment has no such cell.
    """
    cells = EXPERIMENTS[experiment].cells(seed, scale)
    return {cell.digest(): cell for cell in cells}[digest]


def run_cell(cell: Cell, workshop: LocalWorkshop) -> Finished:
    """Measure ``cell`` here."""
    begun = time.monotonic()
    numbers = EXPERIMENTS[cell.experiment].measure(cell, workshop)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
    return Finished(
        cell=cell.digest(),
        part=dict(cell.part),
        seed=cell.seed,
        numbers=numbers,
        seconds=round(time.monotonic() - begun, 1),
        peak_mib=round(peak),
        environment=dict(environment(choose_device(), "auto")),
    )


def _answer(order: dict[str, Any], workshop: LocalWorkshop) -> JsonObject:
    try:
        return {"finished": run_cell(find_cell(**order), workshop).to_object()}
    except ZooError as error:
        return {"refused": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
