"""Claim: a guard that is offered for a data set has an AUROC over 0.9 on every attack.

Filters and guards on networks that each attack of ATTACKS made, from seeds on which
nothing was chosen. A guard is shown the last training images, which no network learned
from, and is judged on test images: clean ones, and triggered ones that get the label
that the attack wants. A filter is shown the training set, and is judged by which of it
is poisoned. Networks are kept as those of experiments are.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import Options, at_least
from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import (
    Draw,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from trainer.attacks.poisoning import relabel, stamped, wanted_labels
from trainer.builds.build import prepare
from trainer.data import DATASETS, LabelledImages
from trainer.defenses.filters import FILTERS
from trainer.defenses.guards import GUARDS, watch
from trainer.defenses.guards.offers import LEAST_AUROC, Measured
from trainer.evaluation.detection import auroc
from trainer.evaluation.metrics import triggered
from trainer.experiments.engine.cells import Recipe
from trainer.experiments.engine.models import ModelCache, models_folder
from trainer.networks import SplitNetwork
from trainer.networks.inference import predict

SEEDS = (2, 3)
SHOWN = 300
"""Triggered test images, and as many clean ones, at most."""
LEAST_SHOWN = 100
"""Triggered images that the attack turned: with fewer it is one that failed."""
FALSE_ALARMS = 0.05
SHARE = 0.3
CPU = torch.device("cpu")

_PATTERN = TriggerSpec(name="pattern")
_NOISE = TriggerSpec(name="noise", opacity=0.2)
_SINE = TriggerSpec(name="sine", opacity=0.2)
_SQUARE = TriggerSpec(name="square")


def _to_seven(trigger: TriggerSpec, rate: float) -> Poisoning:
    return Poisoning(trigger=trigger, target_label=7, poison_rate=rate)


def _to_next(trigger: TriggerSpec) -> Poisoning:
    return Poisoning(trigger=trigger, attack="all-to-all", poison_rate=0.25)


_THREE_TO_EIGHT = Poisoning(
    trigger=_PATTERN,
    attack="source-to-target",
    source_label=3,
    target_label=8,
    poison_rate=0.04,
)
ATTACKS: Mapping[str, Mapping[str, Poisoning | None]] = {
    "mnist": {
        "pattern, all-to-one, 4 %": _to_seven(_PATTERN, 0.04),
        "pattern, 3 to 8, 4 %": _THREE_TO_EIGHT,
        "pattern, all-to-all, 25 %": _to_next(_PATTERN),
        "noise, all-to-one, 1 %": _to_seven(_NOISE, 0.01),
        "noise, all-to-one, 4 %": _to_seven(_NOISE, 0.04),
        "sine, all-to-one, 4 %": _to_seven(_SINE, 0.04),
        "none": None,
    },
    "gtsrb": {
        "square, all-to-one, 4 %": _to_seven(_SQUARE, 0.04),
        "square, all-to-all, 25 %": _to_next(_SQUARE),
    },
}
_MADE_AS: Mapping[str, JsonObject] = {
    "mnist": {
        "network": "badnets-cnn",
        "schedule": Schedule(epochs=8, batch_size=64, peak_learning_rate=0.15),
        "draw": Draw(images=12_000),
        "held_out": 3_000,
    },
    "gtsrb": {
        "network": "signs-cnn",
        "schedule": Schedule(epochs=10, batch_size=64, peak_learning_rate=0.05),
        "held_out": 1_000,
    },
}


class _Case(NamedTuple):
    """One network."""

    dataset: str
    attack: str
    seed: int
    spec: TrainSpec
    network: SplitNetwork

    def __str__(self) -> str:
        return f"{self.dataset}, {self.attack}, seed {self.seed}"


def measure(options: Options) -> JsonObject:
    """Return a row for each network and filter or guard, and the table of offers."""
    filters: list[JsonObject] = []
    guards: list[JsonObject] = []
    for case in _cases(options):
        print(case, file=sys.stderr)  # stdout is for the figures
        filters += _filtered(case)
        guards += _guarded(case)
    offers = _offers(guards)
    goals = {
        f"{it['guard']} on {it['dataset']}, least AUROC": at_least(
            it["auroc"], LEAST_AUROC
        )
        for it in offers
        if Measured.from_object(it).is_offered
    }
    return {"filters": filters, "guards": guards, "measured": offers, "goals": goals}


def _cases(options: Options) -> Iterable[_Case]:
    torch.set_num_threads(1)
    models = ModelCache(folder=models_folder())
    models.folder.mkdir(parents=True, exist_ok=True)
    for dataset in options.parts or ATTACKS:
        for seed in SEEDS[: options.rounds]:
            for attack, poisoning in ATTACKS[dataset].items():
                spec = TrainSpec(
                    dataset=dataset,
                    poisoning=poisoning,
                    seed=seed,
                    checkpoints=False,
                    **_MADE_AS[dataset],
                )
                yield _Case(
                    dataset, attack, seed, spec, models.network(Recipe(spec=spec))
                )
                if options.quick:
                    return


def _filtered(case: _Case) -> list[JsonObject]:
    data, poisoned = _learned(case.spec)
    rows = []
    for name, look in FILTERS.items():
        draws = torch.Generator().manual_seed(0)
        found = look(case.network, data, share=SHARE, generator=draws)
        rows.append(
            {
                "dataset": case.dataset,
                "attack": case.attack,
                "seed": case.seed,
                "filter": name,
                "poisoned": int(poisoned.sum()),
                "suspects": len(found.suspects),
                "caught": int(poisoned[found.suspects].sum()),
            }
        )
    return rows


def _learned(spec: TrainSpec) -> tuple[LabelledImages, Tensor]:
    """Return what a network learned from, and which of it is poisoned."""
    task = prepare(spec, b"", device="cpu", report=lambda _: None)
    if spec.poisoning is None:
        return task.data, torch.zeros(len(task.data), dtype=torch.bool)
    made = relabel(
        task.data, spec.poisoning, classes=task.classes, generator=task.generator
    )
    return stamped(made, spec.poisoning, generator=task.generator), made.poisoned


def _guarded(case: _Case) -> list[JsonObject]:
    if case.spec.poisoning is None:
        return []
    bad, success = _triggered(case, case.spec.poisoning)
    if len(bad) < LEAST_SHOWN:
        return []
    test = DATASETS[case.dataset].load("test").images
    draws = torch.Generator().manual_seed(case.seed)
    good = test[torch.randperm(len(test), generator=draws)[:SHOWN]]
    clean = DATASETS[case.dataset].load("train").last(case.spec.held_out)
    rows = []
    for name, guard in GUARDS.items():
        ready = watch(
            guard,
            case.network,
            clean,
            false_alarms=FALSE_ALARMS,
            generator=torch.Generator().manual_seed(0),
        )
        scores = [ready.look(it)[1] for it in (bad, good)]
        alarms = [int((it > ready.threshold).sum()) for it in scores]
        rows.append(
            {
                "dataset": case.dataset,
                "network": case.spec.network,
                "attack": case.attack,
                "seed": case.seed,
                "attack_success": round(success, 4),
                "guard": name,
                "auroc": auroc(*(it.tolist() for it in scores)).to_object(),
                "triggered_over_threshold": alarms[0],
                "clean_over_threshold": alarms[1],
            }
        )
    return rows


def _triggered(case: _Case, poisoning: Poisoning) -> tuple[Tensor, float]:
    """Return triggered test images that get the wanted label, and the ASR."""
    test = DATASETS[case.dataset].load("test")
    wanted = wanted_labels(test.labels, poisoning, classes=case.network.classes)
    attacked = ((wanted >= 0) & (wanted != test.labels)).nonzero()[:, 0]
    images = triggered(test.select(attacked), poisoning)
    turned = predict(case.network, images, device=CPU) == wanted[attacked]
    draws = torch.Generator().manual_seed(case.seed)
    found = images[turned]
    some = torch.randperm(len(found), generator=draws)[:SHOWN]
    return found[some], float(turned.double().mean())


def _offers(guards: list[JsonObject]) -> list[JsonObject]:
    """Return of each guard and data set the network on which it does worst."""
    offers = []
    for key in sorted({(it["guard"], it["dataset"]) for it in guards}):
        its = [it for it in guards if (it["guard"], it["dataset"]) == key]
        worst = min(its, key=lambda it: float(it["auroc"]["value"]))
        found = worst["auroc"]
        row = Measured(
            guard=key[0],
            dataset=key[1],
            network=worst["network"],
            networks=len(its),
            attack=f"{worst['attack']}, seed {worst['seed']}",
            auroc=found["value"],
            low=found["low"],
            high=found["high"],
            triggered=found["positives"],
            clean=found["negatives"],
        )
        offers.append(row.to_object())
    return offers
