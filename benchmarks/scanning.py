"""Claim: all labels in one batch are searched in a twentieth of the time of others.

Neural Cleanse on the same networks and the same 3,000 clean images, with the same
number of threads: ours beside BackdoorBench's and TrojanZoo's, each driven through its
own loop at its own settings. Every round has one clean network and one BadNet of a seed
of its own. They take part where ``BACKDOORBENCH`` and ``TROJANZOO`` name checkouts, and
modelaudit, which reads the files, where ``--parts`` names it.
"""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from benchmarks.measuring import (
    Options,
    Side,
    at_least,
    ratio,
    summaries,
    take_turns,
)
from benchmarks.processes import ROOT, ask
from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Draw, Poisoning, Schedule, TrainSpec, TriggerSpec
from trainer.evaluation.detection import auroc
from trainer.experiments.engine.cells import Recipe
from trainer.experiments.engine.models import ModelCache
from trainer.lab.clients import environments

LEAST_RATIO = 20.0
ROUNDS = 5
HELD_OUT = 3_000
"""Clean images of MNIST's training set that no network here learned from."""
PEERS = {
    "backdoorbench": (
        "BACKDOORBENCH",
        ("opencv-python-headless", "scikit-image", "pandas", "imageio", "tqdm"),
        {"epochs": 80, "batch_size": 256},
    ),
    "trojanzoo": (
        "TROJANZOO",
        ("pandas", "tqdm", "pyyaml", "scikit-image", "opencv-python-headless"),
        {"epochs": 10, "batch_size": 100},
    ),
}
"""Peer -> the variable of its checkout, what it needs, and its own settings."""


MODELAUDIT = "modelaudit"


def measure(options: Options) -> JsonObject:
    """Return times, passes and AUROC of each side, and what they mean for the goals."""
    folder = environments.cache_folder() / "scanning"
    folder.mkdir(parents=True, exist_ok=True)
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    models = ModelCache(folder=folder)
    pairs = [_pair(models, seed, quick=options.quick) for seed in range(rounds)]
    task = {
        "threads": options.threads or len(os.sched_getaffinity(0)),
        "images": HELD_OUT,
    }
    said = take_turns(
        _sides(task, pairs, quick=options.quick, parts=options.parts), rounds=rounds
    )
    ours = said["ours"]
    ratios = {
        name: {of: ratio(peer, ours, of=of) for of in ("seconds", "cpu_seconds")}
        for name, peer in said.items()
        if name not in {"ours", MODELAUDIT}  # it searches nothing
    }
    areas = {name: _area(answers) for name, answers in said.items()}
    return {
        "threads": task["threads"],
        "networks": 2 * rounds,
        "sides": {name: summaries(answers) for name, answers in said.items()},
        "ratios": ratios,
        "auroc": areas,
        "goals": {
            f"{name}: {figure}": goal
            for name, found in ratios.items()
            for figure, goal in (
                ("time", at_least(found["seconds"]["median"], LEAST_RATIO)),
                ("AUROC", at_least(areas["ours"]["value"], areas[name]["value"])),
            )
        },
    }


def _sides(
    task: JsonObject,
    pairs: list[dict[str, str]],
    *,
    quick: bool,
    parts: tuple[str, ...],
) -> dict[str, Side]:
    sides: dict[str, Side] = {
        "ours": partial(_round, iter(pairs), "ours_cleanse", task),
    }
    for name, (variable, needs, settings) in PEERS.items():
        checkout = os.environ.get(variable)
        if not checkout:
            continue
        more = {
            "checkout": str(Path(checkout).resolve()),
            **settings,
            **({"epochs": 1} if quick else {}),
        }
        sides[name] = partial(
            _round,
            iter(pairs),
            f"{name}_cleanse",
            {**task, **more},
            python=environments.environment(name, needs, borrow=True),
            environment={"PYTHONPATH": str(ROOT)},
        )
    if MODELAUDIT in parts:
        python = environments.environment(MODELAUDIT, (MODELAUDIT,))
        sides[MODELAUDIT] = partial(
            _round, iter(pairs), "modelaudit_scan", {}, python=python
        )
    return sides


def _round(
    pairs: Iterable[dict[str, str]],
    side: str,
    task: JsonObject,
    **more: object,
) -> JsonObject:
    """Return what a side says of the next clean network and the next BadNet."""
    pair = next(iter(pairs))
    said = {
        kind: ask(side, {**task, "weights": weights}, **more)  # type: ignore[arg-type]
        for kind, weights in pair.items()
    }
    costs = {
        name: sum(float(each[name]) for each in said.values())
        for name in ("seconds", "cpu_seconds", "passes")
    }
    return {**costs, **{f"{kind}_index": it["index"] for kind, it in said.items()}}


def _area(answers: list[JsonObject]) -> JsonObject:
    found = auroc(
        [it["badnet_index"] for it in answers], [it["clean_index"] for it in answers]
    )
    return {
        name: round(it, 4)
        for name, it in (
            ("value", found.value),
            ("low", found.low),
            ("high", found.high),
        )
    }


def _pair(models: ModelCache, seed: int, *, quick: bool) -> dict[str, str]:
    """Return the weights files of a clean network and a BadNet."""
    poisoning = Poisoning(
        trigger=TriggerSpec(name="pattern"), target_label=seed % 10, poison_rate=0.1
    )
    recipes = {
        kind: TrainSpec(
            seed=seed,
            held_out=HELD_OUT,
            draw=Draw(images=600 if quick else 12_000),
            schedule=Schedule(epochs=1 if quick else 5, batch_size=64),
            checkpoints=False,
            poisoning=it,
        )
        for kind, it in (("clean", None), ("badnet", poisoning))
    }
    return {kind: str(models.path(Recipe(spec=spec))) for kind, spec in recipes.items()}
