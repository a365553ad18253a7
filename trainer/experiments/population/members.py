"""Members: who is in a population, and how each of them is made."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_zoo.statements.jobs import (
    Draw,
    FineTuneSpec,
    Poisoning,
    Schedule,
    TrainSpec,
)
from trainer.data import DATASETS
from trainer.experiments.engine.cells import NO_PARENT, Recipe, Scale
from trainer.experiments.population.makers import Counts, Fields, Makers
from trainer.experiments.population.triggers import Random, Split

SEED = 1708
BACKDOORED, FINE_TUNED = "backdoored", "fine-tuned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network.

    Attributes:
        number: in the makers.
        split: which it is in.
        kind: ``clean``, an odd kind of clean network, or ``backdoored``.
        family: of the trigger; empty without one.
        attack: as its poisoning names it; ``clean-label`` where no label changes.
        recipe: how it is made.
        old: of an update, how what it updates is made.
    """

    number: int
    split: Split
    kind: str
    family: str = ""
    attack: str = ""
    recipe: Recipe
    old: Recipe | None = None

    def part(self) -> dict[str, Any]:
        """Return what a cell says of it."""
        return {
            "number": self.number,
            "split": self.split,
            "kind": self.kind,
            "family": self.family,
            "attack": self.attack,
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """What of a member is not drawn."""

    split: Split
    kind: str
    family: str = ""
    attack: str = ""

    def member(
        self, number: int, recipe: Recipe, *, old: Recipe | None = None
    ) -> Member:
        """Return the member that ``recipe`` makes of it."""
        return Member(
            number=number,
            split=self.split,
            kind=self.kind,
            family=self.family,
            attack=self.attack,
            recipe=recipe,
            old=old,
        )


ATTACKS = ("all-to-one", "source-to-target", "all-to-all")
CLEAN_LABEL = "clean-label"
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


def members(makers: Makers, scale: Scale) -> list[Member]:
    """Return all members, in an order in which any first part is a fair sample."""
    drafts = [
        draft
        for split, counts in makers.counts[scale].items()
        for draft in _drafts(makers, split, counts)
    ]
    made = [_made(makers, number, draft, scale) for number, draft in enumerate(drafts)]
    return in_fair_order(made)


def in_fair_order(made: list[Member]) -> list[Member]:
    """Return them in an order, drawn once, of which any first part is a fair sample."""
    order = np.random.default_rng(SEED).permutation(len(made))
    return [made[it] for it in order]


def _drafts(makers: Makers, split: Split, counts: Counts) -> Iterator[Draft]:
    unseen = makers.unseen_odd if split == "calibration" else ()
    odd = [it for it in (*makers.odd, FINE_TUNED) if it not in unseen]
    for kind, count in (
        ("clean", counts.clean),
        ("foreign", counts.foreign),
        *((kind, counts.odd) for kind in odd),
    ):
        yield from [Draft(split, kind)] * count
    for family, attack in attacks(makers, split):
        yield from [Draft(split, BACKDOORED, family, attack)] * counts.attack


def attacks(makers: Makers, split: Split) -> Iterator[tuple[str, str]]:
    """Yield every family of triggers with every attack that is played with it."""
    for family in makers.families[split]:
        for attack in (*ATTACKS, CLEAN_LABEL) if family == "sine" else ATTACKS:
            yield family, attack


def _made(makers: Makers, number: int, draft: Draft, scale: Scale) -> Member:
    random = np.random.default_rng([SEED, number])
    is_foreign = draft.kind == "foreign"
    drawn = makers.foreign if is_foreign else makers.habits[draft.split]
    fields: Fields = {
        "dataset": makers.dataset,
        "network": makers.network,
        "seed": number,
        "held_out": makers.held_out,
        "draw": Draw(images=makers.images),
        "checkpoints": False,
        **drawn(random),
        **makers.odd.get(draft.kind, {}),
    }
    if draft.kind == BACKDOORED:
        fields["poisoning"] = drawn_poisoning(makers, random, draft)
    if scale == "quick":
        fields |= makers.quick
    recipe = Recipe(spec=TrainSpec(**fields))
    if draft.kind == FINE_TUNED:
        recipe = _fine_tuned(fields, recipe)
    return draft.member(number, recipe)


def _fine_tuned(fields: Fields, parent: Recipe) -> Recipe:
    """Return a network that somebody downloaded and went on training on his own."""
    own = {
        **fields,
        "seed": fields["seed"] + 1_000_000,
        "draw": Draw(images=fields["draw"].images // 4),
        "schedule": Schedule(epochs=3, peak_learning_rate=0.05),
    }
    spec = FineTuneSpec(parent=NO_PARENT, retrain="continued", **own)
    return Recipe(spec=spec, parent=parent)


def drawn_poisoning(makers: Makers, random: Random, draft: Draft) -> Poisoning:
    """Return an attack of the draft's family and kind."""
    split, attack = draft.split, draft.attack
    trigger = makers.families[split][draft.family](random)
    rate = float(random.choice(POISON_RATES[split]))
    if draft.family == "warp":
        rate = max(rate, WARP_RATE)
    classes = DATASETS[makers.dataset].classes
    source, target = (int(it) for it in random.permutation(classes)[:2])
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
    if attack == CLEAN_LABEL:
        opacity = round(random.uniform(*CLEAN_LABEL_OPACITY), 3)
        return Poisoning(
            trigger=trigger.model_copy(update={"opacity": opacity}),
            target_label=target,
            poison_rate=CLEAN_LABEL_RATE,
            placement="replace",
            relabels=False,
        )
    return Poisoning(trigger=trigger, target_label=target, poison_rate=rate)
