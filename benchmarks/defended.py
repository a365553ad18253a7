"""Claim: a defended training costs little, and takes from BadNets its backdoor.

Of each attack of the leaderboard on digits, and of a set that nobody poisoned, one
network that learned as usual and one that ABL defended, from the same draw and seed;
ACC and ASR on the whole test set. Which isolated images are poisoned is told by the
spec, and the defence is not told. Seeds are others than those its settings were
chosen on.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.measuring import Options, at_most
from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Draw, Poisoning, Schedule, TrainSpec
from trainer.attacks.poisoning import relabel
from trainer.builds.build import HISTORY_NAME, build, prepare
from trainer.experiments.leaderboard import BADNETS, BOARDS, attacks

SEEDS = (2, 3, 4)
NOBODY = "none"
DEFENSES: dict[str, Literal["abl"] | None] = {"undefended": None, "abl": "abl"}
MAX_ACCURACY_LOSS, MAX_SUCCESS = 0.01, 0.013
IMAGES, QUICK_IMAGES = 12_000, 600


def measure(options: Options) -> JsonObject:
    """Return a row for each network, and what the goals say of their means."""
    torch.set_num_threads(1)
    rows = []
    for row in _rows(options):
        print(json.dumps(row), file=sys.stderr)  # stdout is for the figures
        rows.append(row)
    lost = [
        row["undefended"]["accuracy"] - row["abl"]["accuracy"]
        for row in rows
        if row["attack"] == NOBODY
    ]
    left = [row["abl"]["attack_success"] for row in rows if row["attack"] == BADNETS]
    goals = {
        "accuracy lost on an unpoisoned set": at_most(
            sum(lost) / len(lost), MAX_ACCURACY_LOSS
        ),
        f"attack success left of {BADNETS}": at_most(
            sum(left) / len(left), MAX_SUCCESS
        ),
    }
    return {"networks": rows, "goals": goals}


def _rows(options: Options) -> Iterator[JsonObject]:
    recipes: dict[str, Poisoning | None] = {NOBODY: None, **attacks(BOARDS["mnist"])}
    if options.quick:
        recipes = {name: recipes[name] for name in (NOBODY, BADNETS)}
    for seed in SEEDS[: 1 if options.quick else options.rounds]:
        for attack, poisoning in recipes.items():
            made: dict[str, Any] = {
                name: _made(_spec(poisoning, seed, defense, quick=options.quick))
                for name, defense in DEFENSES.items()
            }
            yield {"attack": attack, "seed": seed, **made}


def _spec(
    poisoning: Poisoning | None,
    seed: int,
    defense: Literal["abl"] | None,
    *,
    quick: bool,
) -> TrainSpec:
    return TrainSpec(
        held_out=BOARDS["mnist"].held_out,
        draw=Draw(images=QUICK_IMAGES if quick else IMAGES),
        schedule=Schedule(epochs=2 if quick else 6, peak_learning_rate=0.1),
        poisoning=poisoning,
        seed=seed,
        checkpoints=False,
        defense=defense,
    )


def _made(spec: TrainSpec) -> JsonObject:
    """Return what a network is like, what it cost, and what was isolated."""
    with TemporaryDirectory() as scratch:
        before = time.process_time()
        made = build(spec, folder=Path(scratch), device="cpu")
        seconds = time.process_time() - before
        history = json.loads((made.folder / HISTORY_NAME).read_bytes())
    found = made.evaluation
    row: JsonObject = {
        "accuracy": found.accuracy.rate,
        "n": found.accuracy.n,
        "seconds": round(seconds, 1),
    }
    if found.attack_success is not None:
        row["attack_success"] = found.attack_success.rate
        row["n_attacked"] = found.attack_success.n
    if spec.defense is not None:
        isolated = torch.tensor(history["isolated"])
        row["isolated"] = len(isolated)
        row["poisoned"] = int(_poisoned(spec)[isolated].sum())
    return row


def _poisoned(spec: TrainSpec) -> Tensor:
    """Return (N,) bool, which images of the training set are poisoned."""
    task = prepare(spec, b"", device="cpu", report=lambda _: None)
    if spec.poisoning is None:
        return torch.zeros(len(task.data), dtype=torch.bool)
    return relabel(
        task.data, spec.poisoning, classes=task.classes, generator=task.generator
    ).poisoned
