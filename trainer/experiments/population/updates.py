"""Updates: newer versions of clean networks, honest and poisoned ones.

What somebody makes of a network that is known: he fine-tunes it, retrains its head, or
trains another one anew; or he teaches it a backdoor, with the triggers and the rates of
the split. As in other populations the test split has kinds of updates, families of
triggers and habits that are seen in no calibration.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np

from model_zoo.statements.jobs import Draw, FineTuneSpec, RepairSpec, Schedule
from trainer.experiments.engine.cells import NO_PARENT, Recipe, Scale
from trainer.experiments.population.makers import DIGITS, Fields
from trainer.experiments.population.members import (
    BACKDOORED,
    SEED,
    Draft,
    Member,
    attacks,
    drawn_poisoning,
    in_fair_order,
    members,
)
from trainer.experiments.population.triggers import Random, Split

FINE_TUNED, HEAD, ANEW, REPAIRED = "fine-tuned", "new head", "trained anew", "clp"
HONEST: dict[str, Fields] = {
    FINE_TUNED: {},
    HEAD: {"retrain": "fully-connected"},
    "moved digits": {"augmentation": "digits"},
    "label noise": {"draw": Draw(images=4_000, label_noise=0.1)},
    "few images": {
        "draw": Draw(images=500),
        "schedule": Schedule(epochs=6, peak_learning_rate=0.05),
    },
}
"""Kind -> what is unlike the split's habits; ANEW and REPAIRED are made otherwise."""
COUNTS: dict[Scale, dict[Split, dict[str, int]]] = {
    "full": {
        "calibration": {FINE_TUNED: 55, HEAD: 25, ANEW: 30, BACKDOORED: 6},
        "test": {
            FINE_TUNED: 40,
            HEAD: 20,
            ANEW: 30,
            "moved digits": 20,
            "label noise": 20,
            "few images": 20,
            REPAIRED: 20,
            BACKDOORED: 6,
        },
    },
    "quick": {
        "calibration": {FINE_TUNED: 6, HEAD: 4, ANEW: 2, BACKDOORED: 2},
        "test": {FINE_TUNED: 1, HEAD: 1, ANEW: 1, REPAIRED: 1, BACKDOORED: 1},
    },
}
"""How many of each kind; of BACKDOORED for each attack with each family of triggers."""
PARENTS: dict[Scale, int] = {"full": 40, "quick": 2}
"""Clean networks of ``digits`` that are updated in each split."""


def updates(scale: Scale) -> list[Member]:
    """Return all updates, in an order in which any first part is a fair sample."""
    clean = [it for it in members(DIGITS, scale) if it.kind == "clean"]
    parents = {
        split: [it.recipe for it in clean if it.split == split][: PARENTS[scale]]
        for split in COUNTS[scale]
    }
    drafts = [
        draft
        for split, counts in COUNTS[scale].items()
        for draft in _drafts(split, counts)
    ]
    made = [
        _made(number, draft, parents[draft.split], scale)
        for number, draft in enumerate(drafts)
    ]
    return in_fair_order(made)


def _drafts(split: Split, counts: dict[str, int]) -> Iterator[Draft]:
    for kind, count in counts.items():
        places = attacks(DIGITS, split) if kind == BACKDOORED else [("", "")]
        for family, attack in places:
            yield from repeat(Draft(split, kind, family, attack), count)


def _made(number: int, draft: Draft, parents: list[Recipe], scale: Scale) -> Member:
    random = np.random.default_rng([SEED, number, number])
    first, second = (int(it) for it in random.permutation(len(parents))[:2])
    old, new = parents[first], parents[second]
    if draft.kind == REPAIRED:
        spec = RepairSpec(parent=NO_PARENT, network=DIGITS.network, defense="clp")
        new = Recipe(spec=spec, parent=old)
    elif draft.kind != ANEW:
        new = Recipe(spec=_continued(random, number, draft, scale), parent=old)
    return draft.member(number, new, old=old)


def _continued(random: Random, number: int, draft: Draft, scale: Scale) -> FineTuneSpec:
    fields: dict[str, Any] = {
        "parent": NO_PARENT,
        "retrain": "continued",
        "seed": 2_000_000 + number,
        "held_out": DIGITS.held_out,
        "checkpoints": False,
        **(_usual(random) if draft.split == "calibration" else _other(random)),
        **HONEST.get(draft.kind, {}),
    }
    if draft.kind == BACKDOORED:
        fields["poisoning"] = drawn_poisoning(DIGITS, random, draft)
    if scale == "quick":
        fields |= DIGITS.quick
    return FineTuneSpec(**fields)


def _usual(random: Random) -> Fields:
    """Draw habits around those of the test split, and none of its own.

    Of a narrow range, an eighth of the test's fine-tuned ones were called suspicious:
    whoever trains longer or steeper than any that was seen looks like an attacker.
    """
    return {
        "draw": Draw(images=int(random.integers(1_500, 10_000))),
        "schedule": Schedule(
            epochs=int(random.integers(2, 8)),
            batch_size=int(random.choice([24, 64, 160])),
            peak_learning_rate=round(random.uniform(0.02, 0.14), 3),
            momentum=float(random.choice([0.8, 0.9, 0.95])),
            weight_decay=float(random.choice([0.0, 5e-4, 2e-3])),
        ),
    }


def _other(random: Random) -> Fields:
    return {
        "draw": Draw(images=int(random.integers(2_500, 9_000))),
        "schedule": Schedule(
            epochs=int(random.integers(3, 7)),
            batch_size=int(random.choice([32, 96, 128])),
            peak_learning_rate=round(random.uniform(0.03, 0.12), 3),
            momentum=float(random.choice([0.85, 0.93])),
            weight_decay=float(random.choice([1e-4, 1e-3])),
        ),
    }
