"""Claim: whatever trains on a CPU trains on a GPU: as well, equal twice, and faster.

One command for a machine that is lent for minutes: each part is a process of its own,
so that a device that gives up costs one part, and what there is no time for is skipped
by name. Without a GPU all of it is, unless ``--device cpu`` asks for a rehearsal.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping

import torch

from benchmarks.measuring import Options
from benchmarks.processes import command
from model_zoo.canonical import JsonObject
from trainer.training.devices import choose_device, environment

SECONDS = {"agreement": 90, "determinism": 60, "goal": 70, "sandbox": 40, "rates": 200}
"""Part -> after which it begins nothing new; together under nine minutes."""
GRACE_SECONDS = 45
"""For what was begun, such as a compilation."""
NO_DEVICE = "skipped: no CUDA device"
MAX_ACCURACY_APART = 0.01
LAST_WORDS = 2000


def measure(options: Options) -> JsonObject:
    """Return what each part found, and what it means for the goals."""
    names = options.parts or tuple(SECONDS)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(NO_DEVICE, file=sys.stderr)
        return {"parts": dict.fromkeys(names, NO_DEVICE), "goals": {}}
    device = choose_device(options.device)
    began = time.monotonic()
    found = {name: _part(name, options, began=began) for name in names}
    return {
        "environment": environment(device, "auto"),
        "seconds": round(time.monotonic() - began),
        "parts": found,
        "goals": _goals(found),
    }


def _part(name: str, options: Options, *, began: float) -> JsonObject:
    left = sum(SECONDS.values()) - (time.monotonic() - began)
    seconds = min(SECONDS[name], left)
    if seconds <= 0 and not options.quick:
        return {"all of it": {"skipped": "no time left"}}
    if options.quick:  # nothing is timed, and a busy machine has all the time it needs
        seconds = 3600
    task = {
        "part": name,
        "device": options.device,
        "quick": options.quick,
        "seconds": seconds,
    }
    end = ""
    try:
        done = subprocess.run(  # noqa: S603  our own module
            command("gpu", task),
            capture_output=True,
            timeout=seconds + GRACE_SECONDS,
            check=False,
        )
        told = done.stdout
        if done.returncode:
            last_words = done.stderr[-LAST_WORDS:].decode(errors="replace")
            end = f"exit {done.returncode}: {last_words}"
    except subprocess.TimeoutExpired as error:
        told, end = error.stdout or b"", f"took more than {error.timeout:.0f} s"
    # a line after each task, with all before it: what is done outlasts its process
    lines = [it for it in told.splitlines(keepends=True) if it.endswith(b"\n")]
    found = dict(json.loads(lines[-1])) if lines else {}
    return {**found, "its process": {"failed": end}} if end else found


def _goals(parts: Mapping[str, JsonObject]) -> JsonObject:
    """Return what is promised of each task that was done; a failed one is missed."""
    goals: dict[str, bool] = {}
    for part, tasks in parts.items():
        for name, it in tasks.items():
            if "skipped" not in it:
                goals[f"{part}: {name}"] = "failed" not in it and _kept(part, it)
    return {name: {"met": met} for name, met in goals.items()}


def _kept(part: str, found: JsonObject) -> bool:
    if part == "determinism":
        return bool(found["equal"])
    if part == "goal":
        return bool(found["reached"])
    if "on_the_device" in found:
        return bool(found["on_the_device"])
    here, there = found.get("cpu"), found.get("device")
    if part == "agreement" and isinstance(here, dict) and isinstance(there, dict):
        apart = abs(here["accuracy"] - there["accuracy"])
        return bool(apart <= MAX_ACCURACY_APART)
    return True
