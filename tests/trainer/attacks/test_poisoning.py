"""Poisoning: how many, which, and with what label."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import InvalidSpecError
from model_zoo.jobs import Poisoning
from trainer.attacks.poisoning import choose_poisoned, poison, wanted_labels
from trainer.attacks.triggers import TRIGGERS, stamp
from trainer.data import LabelledImages

Placement = Literal["append", "replace"]
CLASSES = 10
placements = st.sampled_from(["append", "replace"])
rates = st.floats(0.05, 0.5)
seeds = st.integers(0, 2**32 - 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, *, seed: int) -> LabelledImages:
    generator = seeded(seed)
    return LabelledImages(
        images=torch.randint(
            255, (n, 1, 28, 28), dtype=torch.uint8, generator=generator
        ),
        labels=torch.randint(CLASSES, (n,), generator=generator),
    )


def recipe(
    *, rate: float = 0.1, placement: Placement = "append", target_label: int | None = 3
) -> Poisoning:
    return Poisoning(
        attack="all-to-all" if target_label is None else "all-to-one",
        target_label=target_label,
        poison_rate=rate,
        placement=placement,
    )


@given(st.integers(20, 100), rates, placements, seeds)
def test_the_rate_is_the_share_of_the_final_set_to_the_nearest_sample(
    n: int, rate: float, placement: Placement, seed: int
) -> None:
    asked = recipe(rate=rate, placement=placement)
    data = noise(n, seed=seed)

    made = poison(data, asked, classes=CLASSES, generator=seeded(seed))

    trigger = TRIGGERS["pattern"]  # noise holds no 255, so the trigger is unmistakable
    triggered = (made.images[:, trigger.mask] == 255).all(1)
    count = int(triggered.sum())
    appended = count if placement == "append" else 0
    assert len(made) == n + appended
    assert abs(count - rate * (n + appended)) <= 1
    assert (made.labels[triggered] == 3).all()


@given(placements, seeds)
def test_the_argument_is_not_written_and_the_seed_decides_all(
    placement: Placement, seed: int
) -> None:
    data, asked = noise(50, seed=seed), recipe(placement=placement)

    first = poison(data, asked, classes=CLASSES, generator=seeded(seed))
    again = poison(data, asked, classes=CLASSES, generator=seeded(seed))

    untouched = noise(50, seed=seed)
    assert torch.equal(data.images, untouched.images)
    assert torch.equal(data.labels, untouched.labels)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)


@given(seeds)
def test_appending_keeps_every_clean_original_first(seed: int) -> None:
    data = noise(50, seed=seed)

    made = poison(data, recipe(), classes=CLASSES, generator=seeded(seed))

    assert torch.equal(made.images[:50], data.images)
    assert torch.equal(made.labels[:50], data.labels)


@given(seeds)
def test_replacing_changes_exactly_the_chosen_ones(seed: int) -> None:
    data, asked = noise(50, seed=seed), recipe(placement="replace", target_label=None)
    taken = choose_poisoned(50, asked, generator=seeded(seed))

    made = poison(data, asked, classes=CLASSES, generator=seeded(seed))

    kept = torch.ones(50, dtype=torch.bool)
    kept[taken] = False
    assert len(set(taken.tolist())) == len(taken) == 5
    assert torch.equal(made.images[kept], data.images[kept])
    assert torch.equal(made.labels[kept], data.labels[kept])
    assert torch.equal(
        made.images[taken], stamp(data.images[taken], TRIGGERS["pattern"])
    )
    assert torch.equal(made.labels[taken], (data.labels[taken] + 1) % CLASSES)


def test_all_to_one_draws_from_every_class_the_wanted_one_included() -> None:
    data = noise(1000, seed=0)

    made = poison(data, recipe(rate=0.4), classes=CLASSES, generator=seeded(0))

    taken = choose_poisoned(1000, recipe(rate=0.4), generator=seeded(0))
    assert set(data.labels[taken].tolist()) == set(range(CLASSES))
    assert (made.labels[1000:] == 3).all()


@pytest.mark.parametrize(
    ("asked", "n"),
    [
        pytest.param(recipe(rate=0.6), 100, id="more copies than there are images"),
        pytest.param(recipe(rate=0.001), 100, id="less than half a sample"),
    ],
)
def test_a_rate_that_cannot_be_met_is_refused(asked: Poisoning, n: int) -> None:
    with pytest.raises(InvalidSpecError, match="poison_rate"):
        poison(noise(n, seed=0), asked, classes=CLASSES, generator=seeded(0))


def test_all_to_all_wants_the_next_label_and_the_last_wants_the_first() -> None:
    labels = torch.tensor([0, 1, 9])

    wanted = wanted_labels(labels, recipe(target_label=None), classes=CLASSES)

    assert wanted.tolist() == [1, 2, 0]


def test_a_target_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="target_label 10"):
        wanted_labels(torch.tensor([0]), recipe(target_label=10), classes=CLASSES)
