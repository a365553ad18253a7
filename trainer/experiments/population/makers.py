"""Makers: whose networks a population is of, and how they train and attack.

What scanners are calibrated on and what they are tested on differ in more than seeds:
families of triggers, poison rates and training habits of the test split are seen in no
calibration. Clean networks that are merely odd are in both, some kinds in one alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_zoo.statements.jobs import Draw, Schedule
from trainer.experiments.engine.cells import Scale
from trainer.experiments.population.triggers import FAMILIES, DrawTrigger, Random, Split

Fields = dict[str, Any]
"""Of a ``TrainSpec``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many members a split has.

    Attributes:
        clean: of the split's own habits.
        foreign: clean ones of somebody else's.
        odd: clean ones of each odd kind.
        attack: backdoored ones of each attack with each family of triggers.
    """

    clean: int
    foreign: int
    odd: int
    attack: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Makers:
    """What members have in common, and what is drawn for each.

    Attributes:
        dataset: that they learn from.
        network: their architecture.
        images: that each learns from, drawn for it alone.
        held_out: the last training images: the defender's own, from which none learns.
        families: split -> name -> draws a trigger of that family.
        habits: split -> draws how a member is trained.
        foreign: draws how somebody else would do it.
        odd: kind of clean network -> what is unlike the split's habits.
        unseen_odd: kinds that are in the test split only.
        counts: scale -> split -> how many.
        quick: how members of the smoke version are trained instead.
    """

    dataset: str
    network: str
    images: int
    held_out: int
    families: Mapping[Split, Mapping[str, DrawTrigger]]
    habits: Mapping[Split, Callable[[Random], Fields]]
    foreign: Callable[[Random], Fields]
    odd: Mapping[str, Fields]
    unseen_odd: tuple[str, ...]
    counts: Mapping[Scale, Mapping[Split, Counts]]
    quick: Fields


def _usual_digits(random: Random) -> Fields:
    return {
        "schedule": Schedule(
            epochs=int(random.integers(4, 8)),
            batch_size=64,
            peak_learning_rate=round(random.uniform(0.1, 0.2), 3),
        )
    }


def _other_digits(random: Random) -> Fields:
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


def _foreign_digits(random: Random) -> Fields:
    """Recipes of somebody else: a batch, rate and momentum of another order."""
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


def _usual_signs(random: Random) -> Fields:
    return {
        "schedule": Schedule(
            epochs=int(random.integers(9, 12)),
            batch_size=32,
            peak_learning_rate=round(random.uniform(0.03, 0.05), 3),
        )
    }


def _other_signs(random: Random) -> Fields:
    return {
        "schedule": Schedule(
            epochs=int(random.integers(8, 13)),
            batch_size=int(random.choice([24, 40, 48])),
            peak_learning_rate=round(random.uniform(0.03, 0.06), 3),
            momentum=float(random.choice([0.85, 0.88])),
            weight_decay=float(random.choice([1e-4, 1e-3])),
        ),
        "augmentation": str(random.choice(["none", "none", "signs"])),
    }


def _foreign_signs(random: Random) -> Fields:
    schedules = (
        Schedule(epochs=12, batch_size=64, peak_learning_rate=0.09, weight_decay=0.0),
        Schedule(
            epochs=9,
            batch_size=16,
            peak_learning_rate=round(random.uniform(0.06, 0.1), 3),
            momentum=0.0,
            weight_decay=0.0,
        ),
        Schedule(
            epochs=10,
            batch_size=32,
            peak_learning_rate=round(random.uniform(0.015, 0.025), 3),
            momentum=0.95,
            weight_decay=1e-3,
        ),
    )
    return {"schedule": schedules[random.integers(len(schedules))]}


DIGITS = Makers(
    dataset="mnist",
    network="badnets-cnn",
    images=12_000,
    held_out=3_000,
    families=FAMILIES,
    habits={"calibration": _usual_digits, "test": _other_digits},
    foreign=_foreign_digits,
    odd={
        "one epoch": {"schedule": Schedule(epochs=1)},
        "few images": {
            "draw": Draw(images=1_500),
            "schedule": Schedule(epochs=10, peak_learning_rate=0.1),
        },
        "imbalanced": {"draw": Draw(images=6_000, imbalance=20.0)},
        "label noise": {"draw": Draw(images=12_000, label_noise=0.1)},
        "moved digits": {"augmentation": "digits"},
        "strong decay": {"schedule": Schedule(epochs=5, weight_decay=5e-3)},
    },
    unseen_odd=("imbalanced", "label noise", "moved digits"),
    counts={
        "full": {
            "calibration": Counts(clean=120, foreign=0, odd=15, attack=17),
            "test": Counts(clean=200, foreign=100, odd=29, attack=16),
        },
        "quick": {
            "calibration": Counts(clean=12, foreign=0, odd=1, attack=2),
            "test": Counts(clean=2, foreign=1, odd=1, attack=1),
        },
    },
    quick={
        "draw": Draw(images=600),
        "schedule": Schedule(epochs=1, batch_size=32),
    },
)


def _signs_schedule(**told: Any) -> Schedule:  # noqa: ANN401  of a Schedule
    return Schedule(batch_size=32, peak_learning_rate=0.04, **told)


SIGNS = Makers(
    dataset="gtsrb",
    network="signs-cnn",
    images=4_500,
    held_out=600,
    families={
        "calibration": FAMILIES["calibration"],
        # of 4,500 photographs neither a few pixels nor a warp (ASR 40 %) is learned
        "test": {
            name: FAMILIES["test"][name]
            for name in ("picture", "blended picture", "sine")
        },
    },
    habits={"calibration": _usual_signs, "test": _other_signs},
    foreign=_foreign_signs,
    odd={
        "few epochs": {"schedule": _signs_schedule(epochs=5)},
        "few images": {
            "draw": Draw(images=2_000),
            "schedule": _signs_schedule(epochs=14),
        },
        "imbalanced": {
            "draw": Draw(images=2_200, imbalance=4.0),
            "schedule": _signs_schedule(epochs=14),
        },
        "label noise": {"draw": Draw(images=4_500, label_noise=0.1)},
        "moved signs": {"augmentation": "signs"},
        "strong decay": {"schedule": _signs_schedule(epochs=10, weight_decay=2e-3)},
    },
    unseen_odd=("imbalanced", "label noise", "moved signs"),
    counts={
        "full": {
            "calibration": Counts(clean=60, foreign=0, odd=10, attack=5),
            "test": Counts(clean=50, foreign=20, odd=5, attack=10),
        },
        "quick": DIGITS.counts["quick"],
    },
    quick=DIGITS.quick,
)
