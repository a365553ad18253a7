"""How soon a BadNet is trained on the device, and whether a sandboxed child gets it."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.accelerator.inputs import Place, digits, fitted, fresh
from benchmarks.accelerator.paths import RECIPE
from benchmarks.training import GOAL, TARGET_SCHEDULE
from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Precision, Schedule, TrainSpec
from trainer.attacks.poisoning import poison
from trainer.data import data_digest
from trainer.evaluation.metrics import evaluate
from trainer.jobs import attempt
from trainer.jobs.probing import NOBODY
from trainer.jobs.supervisor import Child, run_child
from trainer.sandbox.child import Limits

SCHEDULES = {
    "batch of 48": Schedule.from_object(TARGET_SCHEDULE),
    "batch of 256": Schedule(epochs=2, batch_size=256, peak_learning_rate=0.2),
    "batch of 1024": Schedule(epochs=4, batch_size=1024, peak_learning_rate=0.4),
}
"""The first is that of the benchmark ``training``; a GPU wants larger batches."""
TRAINING, TEST, QUICK = 60_000, 10_000, 64

Task = Callable[[], JsonObject]


def goal(place: Place) -> dict[str, Task]:
    """Return schedule -> what times it, both tests included, and what came of it."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    return {
        f"{name}, {precision}": partial(_until_goal, place, schedule, precision)
        for name, schedule in SCHEDULES.items()
        for precision in precisions
    }


def _until_goal(place: Place, schedule: Schedule, precision: Precision) -> JsonObject:
    limit = (QUICK, QUICK) if place.quick else (TRAINING, TEST)
    clean, test = (
        digits(split, limit=most, quick=place.quick)
        for split, most in zip(("train", "test"), limit, strict=True)
    )
    generator = torch.Generator().manual_seed(1)
    data = poison(clean, RECIPE, classes=10, generator=generator)
    network = fresh("badnets-cnn")
    began = time.perf_counter()
    fitted(
        network,
        data.images,
        data.labels,
        schedule=schedule,
        device=place.device,
        precision=precision,
    )
    place.wait()
    trained = time.perf_counter()
    report = evaluate(
        network,
        test,
        dataset="mnist",
        classes=10,
        poisoning=RECIPE,
        device=place.device,
    )
    ended = time.perf_counter()
    attack = report.attack_success.rate if report.attack_success else 0.0
    found = {"accuracy": report.accuracy.rate, "attack_success_rate": attack}
    return {
        "seconds": round(ended - began, 3),
        "seconds_of_training": round(trained - began, 3),
        "epochs": schedule.epochs,
        **found,
        "reached": all(found[name] >= least for name, least in GOAL.items()),
    }


def sandbox(place: Place) -> dict[str, Task]:
    """Return what tells what CUDA takes of a child's limits, and whether it works."""
    return {
        "this process": partial(_taken, place),
        "a child in its sandbox": partial(_child, place),
    }


def _taken(place: Place) -> JsonObject:
    """Return memory that counts against the limit on data, with the device in use."""
    torch.zeros(1, device=place.device).add_(1)
    place.wait()
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    limits = Limits(max_seconds=1)
    found: JsonObject = {
        "data_mib": int(fields["VmData"].split()[0]) >> 10,
        "limit_mib": limits.data_bytes >> 20,
        "threads": int(fields["Threads"]),
        "open_files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  a count, no paths
    }
    if place.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(place.device)
        found |= {"gpu_total_mib": total >> 20, "gpu_taken_mib": (total - free) >> 20}
    return found


def _child(place: Place) -> JsonObject:
    """Train a little as a job does, and return where that was and what came of it."""
    if place.quick:
        return {"skipped": "needs MNIST, and more than seconds"}
    data_digest("mnist")  # or there is nothing to train on, which the error says
    spec = TrainSpec(held_out=54_000, schedule=Schedule(epochs=1), checkpoints=False)
    heard: JsonObject = {}
    child = Child(user=NOBODY if os.geteuid() == 0 else None)
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as name:
        folder = Path(name, "attempt")
        folder.mkdir()
        began = time.perf_counter()
        run_child(
            "build",
            spec,
            folder=folder,
            hear=heard.update,
            tick=lambda: None,
            child=child,
        )
        seconds = time.perf_counter() - began
        facts = json.loads((folder / attempt.FACTS).read_bytes())
    return {
        "seconds": round(seconds, 1),
        "sandbox": heard.get("sandbox"),
        "device": facts["device"],
        "on_the_device": facts["device"].startswith(place.device.type),
    }
