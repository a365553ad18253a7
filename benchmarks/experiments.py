"""Claim: on two cores each part of the paper is done in under an hour a seed.

Each part is run for one seed from nothing: no finished cell, no model in a cache. A
process has one thread, and there are as many as the part says. Memory is that of the
largest process times their number, which bounds what all hold at once.
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Options, at_most
from model_zoo.canonical import JsonObject
from model_zoo.errors import ZooError
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.running import run_experiments
from trainer.training.devices import choose_device

MAX_MIB = 4 * 1024
SEED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Experiments that are run together.

    Attributes:
        names: of the experiments.
        minutes: the goal.
        processes: at a time; a detector needs the memory of several classifiers.
    """

    names: tuple[str, ...]
    minutes: float
    processes: int = 2


PARTS = {
    "mnist-single-target": Part(names=("mnist-single-target",), minutes=25),
    "mnist": Part(
        names=tuple(name for name in EXPERIMENTS if name.startswith("mnist-")),
        minutes=50,
    ),
    "signs": Part(
        names=tuple(
            name
            for name in EXPERIMENTS
            if name.startswith("signs-") and name != "signs-detector"
        ),
        minutes=30,
    ),
    "signs-detector": Part(names=("signs-detector",), minutes=40, processes=1),
}


def measure(options: Options) -> JsonObject:
    """Return minutes and memory of each part, the goals beside them."""
    scale: Scale = "quick" if options.quick else "full"
    found = {name: _measured(PARTS[name], scale) for name in options.parts or PARTS}
    goals = {}
    for name, it in found.items():
        goals[f"{name}, minutes"] = at_most(it["minutes"], PARTS[name].minutes)
        goals[f"{name}, MiB"] = at_most(it["peak_mib"], MAX_MIB)
    return {"cores": os.cpu_count(), "parts": found, "goals": goals}


def _measured(part: Part, scale: Scale) -> JsonObject:
    wanted = {EXPERIMENTS[it]: EXPERIMENTS[it].cells(SEED, scale) for it in part.names}
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as name:
        folder = Path(name)
        models = ModelCache(folder=folder / "models", device=choose_device())
        started = time.perf_counter()
        ran = run_experiments(
            wanted,
            folder=folder,
            processes=part.processes,
            models=models,
            report=_tell,
        )
        outcomes = dict(ran)
        minutes = (time.perf_counter() - started) / 60
    seconds: dict[str, int] = {}
    finished: list[Finished] = []
    for experiment, outcome in outcomes.items():
        if isinstance(outcome, ZooError):
            raise outcome
        finished += outcome
        seconds[experiment.name] = sum(round(it.seconds) for it in outcome)
    return {
        "minutes": round(minutes, 2),
        "processes": part.processes,
        "peak_mib": max(it.peak_mib for it in finished) * part.processes,
        "processor_seconds": seconds,
    }


def _tell(cell: Cell, finished: Finished, done: int, total: int) -> None:
    part = ", ".join(str(value) for value in cell.part.values())
    told = f"{cell.experiment} {done}/{total} {part}: {finished.seconds:.0f} s"
    print(told, file=sys.stderr)  # stdout is for the figures
