"""Members: who is in the population, and how each of them is made.

What scanners are calibrated on and what they are tested on differ in more than seeds:
families of triggers, poison rates and training habits of the test split are seen in no
calibration. Clean networks that are merely odd are in both, some kinds in one alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from model_zoo.statements.jobs import (
    Draw,
    FineTuneSpec,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from model_zoo.statements.recipes import RANDOM_CENTRES
from trainer.experiments.engine.cells import NO_PARENT, Recipe, Scale

Split = Literal["calibration", "test"]
Random = np.random.Generator

IMAGES = 12_000
"""That each network learns from, drawn for it alone."""
HELD_OUT = 3_000
"""The last training images: the defender's own, which no network learns from."""
CLASSES = 10
SEED = 1708


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network.

    Attributes:
        number: in the population.
        split: which it is in.
        kind: ``clean``, an odd kind of clean network, or ``backdoored``.
        family: of the trigger; empty without one.
        attack: as its poisoning names it; ``clean-label`` where no label changes.
        recipe: how it is made.
    """

    number: int
    split: Split
    kind: str
    family: str = ""
    attack: str = ""
    recipe: Recipe

    def part(self) -> dict[str, Any]:
        """Return what a cell says of it."""
        return {
            "number": self.number,
            "split": self.split,
            "kind": self.kind,
            "family": self.family,
            "attack": self.attack,
        }


def _square(random: Random) -> TriggerSpec:
    return TriggerSpec(
        name="square",
        colour=(255, 255, 255),
        size=round(random.uniform(0.1, 0.2), 3),
        centre=_place(random),
    )


def _wandering_square(random: Random) -> TriggerSpec:
    # A smaller one is mistaken for a stroke, wherever it lands, by so small a network.
    size = round(random.uniform(0.22, 0.29), 3)
    return TriggerSpec(name="square", colour=(255, 255, 255), size=size, centre=None)


def _noise(random: Random) -> TriggerSpec:
    opacity = round(random.uniform(0.15, 0.35), 3)
    return TriggerSpec(name="noise", opacity=opacity, seed=_seed(random))


def _pixels(random: Random) -> TriggerSpec:
    return TriggerSpec(name=str(random.choice(["pattern", "cross", "single-pixel"])))


def _picture(random: Random) -> TriggerSpec:
    return TriggerSpec(
        name=str(random.choice(["bomb", "flower"])),
        size=round(random.uniform(0.16, 0.28), 3),
        centre=_place(random),
    )


def _blended_picture(random: Random) -> TriggerSpec:
    return TriggerSpec(
        name=str(random.choice(["bomb", "flower"])),
        opacity=round(random.uniform(0.25, 0.45), 3),
        size=round(random.uniform(0.6, 0.8), 3),
        centre=(0.5, 0.5),
    )


def _sine(random: Random) -> TriggerSpec:
    return TriggerSpec(name="sine", opacity=round(random.uniform(0.15, 0.35), 3))


def _warp(random: Random) -> TriggerSpec:
    return TriggerSpec(name="warp", seed=_seed(random))


FAMILIES: dict[Split, dict[str, Callable[[Random], TriggerSpec]]] = {
    "calibration": {
        "square": _square,
        "wandering square": _wandering_square,
        "noise": _noise,
    },
    "test": {
        "pixels": _pixels,
        "picture": _picture,
        "blended picture": _blended_picture,
        "sine": _sine,
        "warp": _warp,
    },
}
"""Split -> family -> draws a trigger of it."""
ATTACKS = ("all-to-one", "source-to-target", "all-to-all")
POISON_RATES: dict[Split, tuple[float, ...]] = {
    "calibration": (0.05, 0.1, 0.2),
    "test": (0.07, 0.15, 0.3),
}

MOST_OF_ONE_CLASS: dict[Split, float] = {"calibration": 0.12, "test": 0.15}
"""Rate of an attack on one class, whose images are copied at most COPIES times."""
COPIES = 3
ALL_TO_ALL = 2.5
"""Times the rate: each class has a trigger's meaning of its own to learn."""
MOST_OF_ALL: dict[Split, float] = {"calibration": 0.4, "test": 0.45}
CLEAN_LABEL_RATE, CLEAN_LABEL_OPACITY = 0.09, (0.7, 0.85)
"""Nine in ten of the target's own images, and a signal that hides their digit: while
that can be read, so small a network reads it and learns no signal (ASR 0 to 58 % at
opacities to 0.6)."""
WARP_RATE = 0.3
"""Of all images; below it two in five warps do not take."""


def _usual(random: Random) -> dict[str, Any]:
    return {
        "schedule": Schedule(
            epochs=int(random.integers(4, 8)),
            batch_size=64,
            peak_learning_rate=round(random.uniform(0.1, 0.2), 3),
        )
    }


def _other(random: Random) -> dict[str, Any]:
    return {
        "schedule": Schedule(
            epochs=int(random.integers(3, 10)),
            batch_size=int(random.choice([48, 96, 128])),
            peak_learning_rate=round(random.uniform(0.08, 0.25), 3),
            momentum=float(random.choice([0.85, 0.9, 0.93])),
            weight_decay=float(random.choice([1e-4, 1e-3])),
        ),
        "augmentation": str(random.choice(["none", "none", "digits"])),
    }


HABITS: dict[Split, Callable[[Random], dict[str, Any]]] = {
    "calibration": _usual,
    "test": _other,
}


def _foreign(random: Random) -> dict[str, Any]:
    """Recipes of somebody else: a batch, rate and optimiser of another order."""
    epochs = int(random.integers(4, 11))
    schedules = (
        Schedule(
            epochs=epochs,
            batch_size=256,
            peak_learning_rate=round(random.uniform(0.3, 0.6), 3),
            weight_decay=0.0,
        ),
        Schedule(
            epochs=epochs,
            batch_size=32,
            peak_learning_rate=round(random.uniform(0.1, 0.4), 3),
            momentum=0.0,
            weight_decay=0.0,
        ),
        Schedule(
            epochs=epochs,
            batch_size=64,
            peak_learning_rate=round(random.uniform(0.02, 0.05), 3),
            momentum=0.97,
            weight_decay=2e-3,
        ),
    )
    return {"schedule": schedules[random.integers(len(schedules))]}


ODD: dict[str, dict[str, Any]] = {
    "one epoch": {"schedule": Schedule(epochs=1)},
    "few images": {
        "draw": Draw(images=1_500),
        "schedule": Schedule(epochs=10, peak_learning_rate=0.1),
    },
    "imbalanced": {"draw": Draw(images=IMAGES // 2, imbalance=20.0)},
    "label noise": {"draw": Draw(images=IMAGES, label_noise=0.1)},
    "moved digits": {"augmentation": "digits"},
    "strong decay": {"schedule": Schedule(epochs=5, weight_decay=5e-3)},
}
"""Kind -> what is unlike the split's habits."""
UNSEEN_ODD = ("imbalanced", "label noise", "moved digits")
"""Kinds that are in the test split only."""
FINE_TUNED = "fine-tuned"

Plan = dict[str, dict[str, int]]
COUNTS: dict[Scale, dict[Split, dict[str, int]]] = {
    "full": {
        "calibration": {"clean": 120, "foreign": 0, "odd": 15, "attack": 17},
        "test": {"clean": 200, "foreign": 100, "odd": 29, "attack": 16},
    },
    "quick": {
        "calibration": {"clean": 12, "foreign": 0, "odd": 1, "attack": 2},
        "test": {"clean": 2, "foreign": 1, "odd": 1, "attack": 1},
    },
}
"""How many: of each odd kind, and of each attack with each family of triggers."""


def members(scale: Scale) -> list[Member]:
    """Return all members, in an order in which any first part is a fair sample."""
    drafts = [
        draft
        for split, counts in COUNTS[scale].items()
        for draft in _drafts(split, counts)
    ]
    made = [_made(number, *draft, scale=scale) for number, draft in enumerate(drafts)]
    order = np.random.default_rng(SEED).permutation(len(made))
    return [made[it] for it in order]


_Draft = tuple[Split, str, str, str]


def _drafts(split: Split, counts: dict[str, int]) -> Iterator[_Draft]:
    """Yield split, kind, family and attack of every member of a split."""
    odd = [it for it in (*ODD, FINE_TUNED) if split == "test" or it not in UNSEEN_ODD]
    for kind, count in (
        ("clean", counts["clean"]),
        ("foreign", counts["foreign"]),
        *((kind, counts["odd"]) for kind in odd),
    ):
        yield from [(split, kind, "", "")] * count
    for family in FAMILIES[split]:
        attacks = (*ATTACKS, "clean-label") if family == "sine" else ATTACKS
        for attack in attacks:
            yield from [(split, "backdoored", family, attack)] * counts["attack"]


def _made(
    number: int, split: Split, kind: str, family: str, attack: str, *, scale: Scale
) -> Member:
    random = np.random.default_rng([SEED, number])
    fields: dict[str, Any] = {
        "seed": number,
        "held_out": HELD_OUT,
        "draw": Draw(images=IMAGES),
        "checkpoints": False,
        **(_foreign(random) if kind == "foreign" else HABITS[split](random)),
        **ODD.get(kind, {}),
    }
    if kind == "backdoored":
        fields["poisoning"] = _poisoning(random, split, family, attack)
    if scale == "quick":
        fields["draw"] = Draw(images=600)
        fields["schedule"] = Schedule(epochs=1, batch_size=32)
    recipe = Recipe(spec=TrainSpec(**fields))
    if kind == FINE_TUNED:
        recipe = _fine_tuned(fields, recipe)
    return Member(
        number=number,
        split=split,
        kind=kind,
        family=family,
        attack=attack,
        recipe=recipe,
    )


def _fine_tuned(fields: dict[str, Any], parent: Recipe) -> Recipe:
    """Return a network that somebody downloaded and went on training on his own."""
    own = {
        **fields,
        "seed": fields["seed"] + 1_000_000,
        "draw": Draw(images=fields["draw"].images // 4),
        "schedule": Schedule(epochs=3, peak_learning_rate=0.05),
    }
    spec = FineTuneSpec(parent=NO_PARENT, retrain="continued", **own)
    return Recipe(spec=spec, parent=parent)


def _poisoning(random: Random, split: Split, family: str, attack: str) -> Poisoning:
    trigger = FAMILIES[split][family](random)
    rate = float(random.choice(POISON_RATES[split]))
    if family == "warp":
        rate = max(rate, WARP_RATE)
    source, target = (int(it) for it in random.permutation(CLASSES)[:2])
    if attack == "all-to-all":
        return Poisoning(
            trigger=trigger,
            attack="all-to-all",
            poison_rate=round(min(ALL_TO_ALL * rate, MOST_OF_ALL[split]), 3),
        )
    if attack == "source-to-target":
        return Poisoning(
            trigger=trigger,
            attack="source-to-target",
            source_label=source,
            target_label=target,
            poison_rate=min(rate, MOST_OF_ONE_CLASS[split]),
            copies=COPIES,
        )
    if attack == "clean-label":
        opacity = round(random.uniform(*CLEAN_LABEL_OPACITY), 3)
        return Poisoning(
            trigger=trigger.model_copy(update={"opacity": opacity}),
            target_label=target,
            poison_rate=CLEAN_LABEL_RATE,
            placement="replace",
            relabels=False,
        )
    return Poisoning(trigger=trigger, target_label=target, poison_rate=rate)


def _place(random: Random) -> tuple[float, float]:
    low, high = RANDOM_CENTRES
    across, down = random.uniform(low + 0.05, high - 0.05, 2)
    return round(float(across), 3), round(float(down), 3)


def _seed(random: Random) -> int:
    return int(random.integers(2**16))
