"""A process that runs cells.

Run as ``python -m trainer.experiments.engine.station FOLDER PID DESK``.

It reads one order a line and answers each with a line. Data sets and models stay in
memory between orders, and one thread a process is both the fastest on a CPU with as
many processes as cores, and the same bits everywhere.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.cli.output import decision
from model_zoo.errors import ZooError
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.contract import Cell, Finished, Scale
from trainer.experiments.engine.ordering import Desk, ordering
from trainer.experiments.engine.workshop import KeptModels
from trainer.sandbox.child import die_with_parent
from trainer.training.devices import choose_device, environment

MAX_ORDER_BYTES = 16 * 1024
MAX_RSS_UNITS_PER_MIB = 1024 * 1024 if sys.platform == "darwin" else 1024
"""getrusage(2) counts bytes on one system and KiB on the others."""


def main() -> None:
    """Run what stdin orders until it ends.

    The first argument is the folder of models, the second the process whose orders
    these are: when it ends, however it ends, so does this one. The third, if there is
    one, is the ``Desk`` where models are ordered in place of being made here.

    Raises:
        SystemExit: that process is gone already.
    """
    folder, orderer = Path(sys.argv[1]), int(sys.argv[2])
    die_with_parent()
    if os.getppid() != orderer:
        sys.exit("whoever orders is gone")
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    # what is printed by anybody goes to stderr: stdout carries answers only
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with _workshop(folder, *sys.argv[3:]) as workshop:
        for order in _orders(sys.stdin.buffer):
            answers.write(json.dumps(_answer(order, workshop)) + "\n")
            answers.flush()


@contextmanager
def _workshop(folder: Path, desk: str = "") -> Iterator[KeptModels]:
    if not desk:
        yield KeptModels(folder=folder)
        return
    where = Desk.from_json(desk)
    with ordering(where) as maker:
        yield KeptModels(folder=folder, make=maker, made_by=where.who())


def find_cell(experiment: str, *, seed: int, scale: Scale, digest: str) -> Cell:
    """Return the cell of that digest.

    Raises:
        KeyError: the experiment has no such cell.
    """
    cells = EXPERIMENTS[experiment].cells(seed, scale)
    return {cell.digest(): cell for cell in cells}[digest]


def run_cell(cell: Cell, workshop: KeptModels) -> Finished:
    """Measure ``cell`` here."""
    experiment = EXPERIMENTS[cell.experiment]
    device = torch.device("cpu") if experiment.on_cpu else choose_device()
    data = workshop.data(experiment.datasets)
    begun = time.process_time()
    numbers = experiment.measure(cell, workshop)
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MAX_RSS_UNITS_PER_MIB
    return Finished(
        cell=cell.digest(),
        part=dict(cell.part),
        seed=cell.seed,
        numbers=numbers,
        seconds=round(seconds, 1),
        peak_mib=round(peak),
        environment=dict(environment(device, "auto")),
        data=data,
        made_by=workshop.made_by if cell.recipes else "",
    )


def _orders(pipe: BinaryIO) -> Iterator[JsonObject]:
    while line := pipe.readline(MAX_ORDER_BYTES):
        yield parse_object(line, limit_bytes=MAX_ORDER_BYTES)


def _answer(order: JsonObject, workshop: KeptModels) -> JsonObject:
    try:
        return {"finished": run_cell(find_cell(**order), workshop).to_object()}
    except ZooError as error:
        return {"error": decision(error).__name__, "message": str(error)}


if __name__ == "__main__":
    main()
