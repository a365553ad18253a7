"""One part of ``gpu``, in a process that may die of it."""

import json
import sys
import time
from collections.abc import Callable, Mapping

import torch

from benchmarks.accelerator.inputs import Place
from benchmarks.accelerator.learning import Task, goal, sandbox
from benchmarks.accelerator.paths import agreement, determinism
from benchmarks.accelerator.rates import rates
from model_zoo.canonical import JsonObject

PARTS: Mapping[str, Callable[[Place], dict[str, Task]]] = {
    "agreement": agreement,
    "determinism": determinism,
    "goal": goal,
    "sandbox": sandbox,
    "rates": rates,
}
MAX_MESSAGE_CHARACTERS = 500


def main() -> None:
    """Do the part in the first argument; after each task print all that is known.

    The argument is ``{"part", "device", "quick", "seconds"}``; after so many seconds no
    further task begins.
    """
    asked = json.loads(sys.argv[1])
    place = Place(device=torch.device(asked["device"]), quick=asked["quick"])
    until = time.monotonic() + asked["seconds"]
    tasks = PARTS[asked["part"]](place)
    found = {}
    for name, task in tasks.items():
        found[name] = _done(task, until)
        print(json.dumps(found), flush=True)


def _done(task: Task, until: float) -> JsonObject:
    """Return what came of a task: one that fails must not cost the others."""
    if time.monotonic() > until:
        return {"skipped": "no time left"}
    began = time.perf_counter()
    try:
        found = task()
    except Exception as error:  # noqa: BLE001  whatever a device or its driver raises
        message = f"{type(error).__name__}: {error}"[:MAX_MESSAGE_CHARACTERS]
        return {"failed": message}
    return {**found, "took_seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    main()
