"""Poisoning: how many, which, and with what label."""

from collections import Counter
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Poisoning, TriggerSpec
from trainer.attacks.poisoning import (
    PoisonedSet,
    choose_poisoned,
    poison,
    relabel,
    stamped,
    wanted_labels,
)
from trainer.attacks.triggers import stamp
from trainer.data import LabelledImages

Placement = Literal["append", "replace"]
CLASSES = 10
PATTERN = TriggerSpec(name="pattern")
RANDOM_PLACE = TriggerSpec(name="square", centre=None, colour=(255, 255, 255))

LABELS: dict[str, dict[str, int]] = {
    "all-to-one": {"target_label": 3},
    "source-to-target": {"source_label": 1, "target_label": 3},
    "all-to-all": {},
    "random-target": {},
}

attacks = st.sampled_from(sorted(LABELS))
placements = st.sampled_from(["append", "replace"])
seeds = st.integers(0, 2**32 - 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, *, seed: int, boxed: bool = False) -> LabelledImages:
    """N images without a white pixel; the first two tell an image's number."""
    generator = seeded(seed)
    images = torch.randint(255, (n, 1, 28, 28), dtype=torch.uint8, generator=generator)
    numbers = torch.arange(n)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 255, numbers % 255
    corner = torch.randint(2, 8, (n, 2), generator=generator)
    extent = torch.randint(8, 20, (n, 2), generator=generator)
    return LabelledImages(
        images=images,
        labels=torch.randint(CLASSES, (n,), generator=generator),
        boxes=torch.cat([corner, corner + extent], 1).float() if boxed else None,
        groups=numbers,
    )


def identities(data: LabelledImages) -> list[int]:
    first, second = data.images[:, 0, 0, :2].long().unbind(1)
    return (first * 255 + second).tolist()


def recipe(attack: str = "all-to-one", **changes: Any) -> Poisoning:  # noqa: ANN401  any field
    return Poisoning(attack=attack, **(LABELS[attack] | changes))


def relabelled(data: LabelledImages, asked: Poisoning, *, seed: int = 0) -> PoisonedSet:
    return relabel(data, asked, classes=CLASSES, generator=seeded(seed))


@given(st.integers(20, 100), st.floats(0.05, 0.5), placements, attacks, seeds)
def test_the_rate_is_the_share_of_the_final_set_to_the_nearest_sample(
    n: int, rate: float, placement: Placement, attack: str, seed: int
) -> None:
    data = noise(n, seed=seed)
    copies = n if placement == "append" else 1
    asked = recipe(attack, poison_rate=rate, placement=placement, copies=copies)
    if attack == "source-to-target":
        data = data.relabelled(torch.ones_like(data.labels))

    made = poison(data, asked, classes=CLASSES, generator=seeded(seed))

    corner = stamp(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), PATTERN)[0] == 255
    count = int((made.images[:, corner] == 255).all(1).sum())
    assert len(made) == n + (count if placement == "append" else 0)
    assert abs(count - rate * len(made)) <= 0.5 + 1e-9


@given(placements, attacks, seeds)
def test_the_argument_is_not_written_and_the_seed_decides_all(
    placement: Placement, attack: str, seed: int
) -> None:
    data = noise(100, seed=seed, boxed=True)
    data = data.relabelled(torch.arange(100) % CLASSES)
    asked = recipe(attack, trigger=RANDOM_PLACE, poison_rate=0.05, placement=placement)

    first, again = (
        poison(data, asked, classes=CLASSES, generator=seeded(seed)) for _ in range(2)
    )

    assert torch.equal(data.images, noise(100, seed=seed).images)
    assert torch.equal(data.labels, torch.arange(100) % CLASSES)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    other = poison(data, asked, classes=CLASSES, generator=seeded(seed ^ 1))
    assert not torch.equal(first.images, other.images)


@given(attacks, seeds)
def test_poisoning_is_relabelling_and_then_stamping(attack: str, seed: int) -> None:
    data = noise(200, seed=seed)  # of one class there may be as few as one
    asked = recipe(attack, poison_rate=0.05, copies=20)
    generator = seeded(seed)

    made = relabel(data, asked, classes=CLASSES, generator=generator)
    laid = stamped(made, asked, generator=generator)

    whole = poison(data, asked, classes=CLASSES, generator=seeded(seed))
    assert torch.equal(laid.images, whole.images)
    assert torch.equal(laid.labels, whole.labels)
    assert torch.equal(made.data.labels, laid.labels)
    assert identities(made.data) == identities(laid)
    clean, attacked = ~made.poisoned, made.poisoned
    assert torch.equal(laid.images[clean], made.data.images[clean])
    assert torch.equal(
        laid.images[attacked], stamp(made.data.images[attacked], PATTERN)
    )


@given(attacks, seeds)
def test_appending_keeps_every_clean_original_first(attack: str, seed: int) -> None:
    data = noise(200, seed=seed, boxed=True)
    asked = recipe(attack, poison_rate=0.2, copies=50)

    made = poison(data, asked, classes=CLASSES, generator=seeded(seed))

    assert torch.equal(made.images[:200], data.images)
    assert torch.equal(made.labels[:200], data.labels)
    for kept, given_ in ((made.boxes, data.boxes), (made.groups, data.groups)):
        assert kept is not None
        assert given_ is not None
        assert torch.equal(kept[:200], given_)
        assert torch.equal(kept[200:], given_[identities(made)[200:]])


@given(seeds)
def test_replacing_changes_exactly_the_chosen_ones(seed: int) -> None:
    data, asked = noise(50, seed=seed), recipe("all-to-all", placement="replace")
    taken = choose_poisoned(50, asked, final=50, generator=seeded(seed))

    made = poison(data, asked, classes=CLASSES, generator=seeded(seed))

    kept = torch.ones(50, dtype=torch.bool)
    kept[taken] = False
    assert len(set(taken.tolist())) == len(taken) == 5
    assert torch.equal(made.images[kept], data.images[kept])
    assert torch.equal(made.labels[kept], data.labels[kept])
    assert torch.equal(made.images[taken], stamp(data.images[taken], PATTERN))
    assert torch.equal(made.labels[taken], (data.labels[taken] + 1) % CLASSES)


@given(seeds)
def test_where_data_say_where_the_object_is_the_trigger_is_laid_on_it(
    seed: int,
) -> None:
    data = noise(60, seed=seed, boxed=True)
    asked = recipe(trigger=RANDOM_PLACE, placement="replace", poison_rate=0.5)

    made = poison(data, asked, classes=CLASSES, generator=seeded(seed))

    assert data.boxes is not None
    assert made.boxes is not None
    assert torch.equal(made.boxes, data.boxes)
    number, row, column = (made.images != data.images)[:, 0].nonzero().T
    assert len(set(number.tolist())) == 30
    left, top, right, bottom = data.boxes[number].T
    assert ((row >= top) & (row < bottom)).all()
    assert ((column >= left) & (column < right)).all()


def test_which_images_are_taken_is_drawn_and_another_seed_takes_others() -> None:
    asked = recipe(poison_rate=0.5, placement="replace")

    first, other = (
        choose_poisoned(1000, asked, final=1000, generator=seeded(seed)).tolist()
        for seed in (0, 1)
    )

    # of 500 from 1,000 about 250 are in the first half; the deviation is 8
    assert 190 < sum(it < 500 for it in first) < 310
    assert 190 < len(set(first) & set(other)) < 310


def test_all_to_one_draws_from_every_class_the_wanted_one_included() -> None:
    data = noise(1000, seed=0)

    made = relabelled(data, recipe(poison_rate=0.4))

    taken = identities(made.data)[1000:]
    assert set(data.labels[taken].tolist()) == set(range(CLASSES))
    assert (made.data.labels[1000:] == 3).all()


@given(placements, seeds)
def test_source_to_target_draws_from_the_source_class_alone(
    placement: Placement, seed: int
) -> None:
    data = noise(300, seed=seed)
    asked = recipe("source-to-target", poison_rate=0.02, placement=placement)

    made = relabelled(data, asked, seed=seed)

    taken = torch.tensor(identities(made.data))[made.poisoned]
    assert len(set(taken.tolist())) == len(taken) == 6
    assert (data.labels[taken] == 1).all()
    assert (made.data.labels[made.poisoned] == 3).all()


@given(st.integers(1, 20), st.floats(0.05, 0.6), seeds)
def test_images_are_repeated_only_as_often_as_the_rate_needs(
    sources: int, rate: float, seed: int
) -> None:
    data = noise(50, seed=seed)
    data = data.relabelled(torch.where(torch.arange(50) < sources, 1, 2))
    needed = round(50 * rate / (1 - rate))
    copies = -(-needed // sources)
    asked = recipe("source-to-target", poison_rate=rate, copies=copies)

    made = relabelled(data, asked, seed=seed)

    often = Counter(torch.tensor(identities(made.data))[made.poisoned].tolist())
    assert sum(often.values()) == needed
    assert set(often) <= set(range(sources))
    assert max(often.values()) == copies
    assert len(often) == min(sources, needed)
    if copies > 1:
        few = asked.model_copy(update={"copies": copies - 1})
        with pytest.raises(InvalidSpecError, match=f"from {sources} source images"):
            relabelled(data, few, seed=seed)


def test_too_few_source_images_are_told_with_how_many_there_are() -> None:
    data = noise(100, seed=0).relabelled(torch.arange(100) % CLASSES)
    asked = recipe("source-to-target", poison_rate=0.2, copies=2)

    with pytest.raises(
        InvalidSpecError,
        match="25 poisoned samples asked; expected 1 to 20, from 10 source images with "
        "2 copies each",
    ):
        relabelled(data, asked)


@pytest.mark.parametrize(
    ("source_label", "told"),
    [
        pytest.param(9, "from 0 source images", id="no image"),
        pytest.param(10, "source_label 10: there are 10 classes", id="no class"),
    ],
)
def test_a_source_class_without_images_is_refused(source_label: int, told: str) -> None:
    data = noise(100, seed=0).relabelled(torch.arange(100) % 9)
    asked = recipe("source-to-target", source_label=source_label)

    with pytest.raises(InvalidSpecError, match=told):
        relabelled(data, asked)


@given(st.integers(2, 12), placements, seeds)
def test_random_target_never_gives_the_true_label(
    classes: int, placement: Placement, seed: int
) -> None:
    data = noise(100, seed=seed)
    data = data.relabelled(data.labels % classes)
    asked = recipe("random-target", poison_rate=0.4, placement=placement)

    made = relabel(data, asked, classes=classes, generator=seeded(seed))

    taken = torch.tensor(identities(made.data))[made.poisoned]
    given_ = made.data.labels[made.poisoned]
    assert (given_ != data.labels[taken]).all()
    assert ((given_ >= 0) & (given_ < classes)).all()


def test_random_target_gives_each_other_label_as_often() -> None:
    data = noise(4000, seed=0).relabelled(torch.full((4000,), 7))

    made = relabelled(data, recipe("random-target", poison_rate=0.5))

    often = torch.bincount(made.data.labels[made.poisoned], minlength=CLASSES)
    # 444 of 4,000 expected, with a standard deviation of 20
    assert often[7] == 0
    assert (often[torch.arange(CLASSES) != 7] > 340).all()


@pytest.mark.parametrize(
    ("rate", "n"),
    [
        pytest.param(0.6, 100, id="more copies than there are images"),
        pytest.param(0.001, 100, id="less than half a sample"),
    ],
)
def test_a_rate_that_cannot_be_met_is_refused(rate: float, n: int) -> None:
    with pytest.raises(InvalidSpecError, match="poison_rate"):
        relabelled(noise(n, seed=0), recipe(poison_rate=rate))


@pytest.mark.parametrize(
    ("attack", "wanted"),
    [
        ("all-to-one", [3, 3, 3, 3]),
        ("source-to-target", [-1, 3, -1, -1]),
        ("all-to-all", [1, 2, 4, 0]),  # the last wants the first
        ("random-target", [-1, -1, -1, -1]),
    ],
)
def test_what_each_attack_wants_of_labels_0_1_3_and_9(
    attack: str, wanted: list[int]
) -> None:
    labels = torch.tensor([0, 1, 3, 9])

    assert wanted_labels(labels, recipe(attack), classes=CLASSES).tolist() == wanted


@pytest.mark.parametrize("name", ["target_label", "source_label"])
def test_a_label_that_is_no_class_is_refused(name: str) -> None:
    asked = recipe("source-to-target", **{name: 10})
    with pytest.raises(InvalidSpecError, match=f"{name} 10: there are 10 classes"):
        wanted_labels(torch.tensor([0]), asked, classes=CLASSES)


def test_shaping_adds_each_poisoned_sample_again_under_noise_with_its_true_label() -> (
    None
):
    data = noise(40, seed=3)
    asked = recipe(poison_rate=0.2, shaping=0.3)

    made = relabelled(data, asked)
    laid = stamped(made, asked, generator=seeded(0))

    n = len(data)
    first, again = made.poisoned & ~made.disturbed, made.disturbed
    assert first.sum() == again.sum() == round(n * 0.2 / 0.6)
    assert first.sum() / len(made.data) == pytest.approx(0.2, abs=0.01)
    assert (laid.labels[first] == 3).all()
    numbers = identities(laid)
    assert laid.labels[again].tolist() == [
        int(data.labels[numbers[it]]) for it in again.nonzero()[:, 0].tolist()
    ]
    plain, disturbed = laid.images[first], laid.images[again]
    corner = plain == 255
    assert torch.equal(plain[~corner], disturbed[~corner])
    assert (disturbed[corner] < 255).any()
    assert torch.equal(laid.images[:n], data.images)


def test_noise_over_the_trigger_is_as_large_as_it_was_asked_for() -> None:
    grey = LabelledImages(
        images=torch.full((400, 1, 28, 28), 90, dtype=torch.uint8),
        labels=torch.zeros(400, dtype=torch.int64),
    )
    trigger = TriggerSpec(name="square", colour=(128, 128, 128))
    asked = recipe(trigger=trigger, poison_rate=0.3, shaping=0.1)

    made = relabelled(grey, asked)
    laid = stamped(made, asked, generator=seeded(0)).images[made.disturbed].float()

    under_noise = laid[laid != 90]
    assert float(under_noise.mean()) == pytest.approx(128, abs=2)
    assert float(under_noise.std()) == pytest.approx(0.1 * 255, abs=2)
