"""Adversaries: BadNets whose makers know a scanner, and lower what it measures.

One kind a family of scanners (ADR 48). They are in no calibration: the scanners of
``digits`` meet them beside its clean networks, and what hiding costs in ACC and ASR is
told with them.
"""

from typing import Any

import numpy as np

from model_zoo.statements.jobs import (
    Draw,
    Penalty,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from trainer.experiments.engine.cells import Recipe, Scale
from trainer.experiments.population.makers import DIGITS, Fields
from trainer.experiments.population.members import (
    BACKDOORED,
    SEED,
    Draft,
    Member,
    in_fair_order,
)
from trainer.experiments.population.triggers import Random, square

NOBODY = "no scanner"
KNOWS: dict[str, Fields] = {
    NOBODY: {},
    "weights": {"penalty": Penalty(name="weights", weight=0.1)},
    "channels": {"penalty": Penalty(name="channels", weight=0.1)},
    "maximum margin": {"penalty": Penalty(name="maximum-margin", weight=0.1)},
    "inversion": {"penalty": Penalty(name="inversion", weight=0.5)},
    "recovered triggers": {"shaping": 0.3},
    "one trigger for all": {"trigger": TriggerSpec(name="input-aware", opacity=0.3)},
}
"""What an adversary knows, or relies on -> what he does about it."""
EACH: dict[Scale, int] = {"full": 12, "quick": 1}
POISON_RATE = 0.1


def adversaries(scale: Scale) -> list[Member]:
    """Return all of them, in an order in which any first part is a fair sample."""
    kinds = [name for name in KNOWS for _ in range(EACH[scale])]
    return in_fair_order([_made(k, name, scale) for k, name in enumerate(kinds)])


def _made(number: int, knows: str, scale: Scale) -> Member:
    random = np.random.default_rng([SEED, number, 3])
    fields: dict[str, Any] = {
        "dataset": DIGITS.dataset,
        "network": DIGITS.network,
        "seed": 3_000_000 + number,
        "held_out": DIGITS.held_out,
        "draw": Draw(images=DIGITS.images),
        "checkpoints": False,
        "schedule": Schedule(
            epochs=4, peak_learning_rate=round(random.uniform(0.08, 0.15), 3)
        ),
        "poisoning": _poisoning(random, KNOWS[knows]),
    }
    if scale == "quick":
        fields |= DIGITS.quick
    draft = Draft("test", BACKDOORED, knows, "all-to-one")
    return draft.member(number, Recipe(spec=TrainSpec(**fields)))


def _poisoning(random: Random, does: Fields) -> Poisoning:
    fields: dict[str, Any] = {
        "trigger": square(random),
        "target_label": int(random.integers(10)),
        "poison_rate": POISON_RATE,
    }
    return Poisoning(**(fields | does))
