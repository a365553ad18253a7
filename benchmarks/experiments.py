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
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.contract import Cell, Finished, Scale
from trainer.experiments.ledger import Ledger
from trainer.experiments.running import Stations, run_missing

MAX_MIB = 4 * 1024
SEED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Experiments that are run one after another.

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
    started = time.perf_counter()
    seconds: dict[str, float] = {}
    peaks = []
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as name:
        for experiment in part.names:
            begun = time.perf_counter()
            finished = _run(experiment, part, scale=scale, folder=Path(name))
            seconds[experiment] = round(time.perf_counter() - begun, 1)
            peaks += [it.peak_mib for it in finished]
    return {
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "processes": part.processes,
        "peak_mib": max(peaks) * part.processes,
        "seconds": seconds,
    }


def _run(experiment: str, part: Part, *, scale: Scale, folder: Path) -> list[Finished]:
    models = folder / "models"
    stations = Stations(
        count=part.processes, models=models, log=folder / "stations.log"
    )
    cells = EXPERIMENTS[experiment].cells(SEED, scale)
    return run_missing(cells, ledger=Ledger(folder), stations=stations, told=_tell)


def _tell(cell: Cell, finished: Finished, done: int, total: int) -> None:
    part = ", ".join(str(value) for value in cell.part.values())
    told = f"{cell.experiment} {done}/{total} {part}: {finished.seconds:.0f} s"
    print(told, file=sys.stderr)  # stdout is for the figures
