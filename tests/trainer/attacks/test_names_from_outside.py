"""Triggers and attacks that other packages register, and clean labels."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Poisoning, TriggerSpec
from trainer.attacks.poisoning import ATTACKS, poison, wanted_labels
from trainer.attacks.triggers import FOREIGN, stamp
from trainer.data import LabelledImages

CLASSES = 4
seeds = st.integers(0, 2**32 - 1)


def shifted(images: Tensor, _: Generator) -> Tensor:
    """A warp: every pixel one to the right."""
    return images.roll(1, dims=3)


def sprinkled(images: Tensor, draws: Generator) -> Tensor:
    """A signal that is drawn anew for each image, and written in place."""
    signal = torch.randint(0, 9, images.shape, generator=draws, dtype=torch.uint8)
    images //= 2
    images += signal
    return images


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FOREIGN, "acme:shift", shifted)
    monkeypatch.setitem(FOREIGN, "acme:sprinkle", sprinkled)
    monkeypatch.setitem(FOREIGN, "acme:float", lambda images, _: images.float())
    monkeypatch.setitem(FOREIGN, "acme:crop", lambda images, _: images[..., 1:])


def pictures(n: int = 20, seed: int = 0) -> LabelledImages:
    draws = torch.Generator().manual_seed(seed)
    return LabelledImages(
        images=torch.randint(256, (n, 3, 6, 6), generator=draws, dtype=torch.uint8),
        labels=torch.arange(n) % CLASSES,
    )


def test_a_trigger_may_warp_the_whole_image() -> None:
    images = pictures().images

    stamped = stamp(images, TriggerSpec(name="acme:shift"))

    assert torch.equal(stamped[..., 1:], images[..., :-1])


def test_less_opacity_is_between_the_image_and_the_trigger() -> None:
    images = pictures().images
    full = stamp(images, TriggerSpec(name="acme:shift")).double()

    half = stamp(images, TriggerSpec(name="acme:shift", opacity=0.5)).double()

    assert (half - (images.double() + full) / 2).abs().max() <= 0.5


def test_what_it_draws_comes_of_the_generator_else_of_the_specs_seed() -> None:
    images = pictures().images
    before = images.clone()

    def laid(seed: int, draws: int | None = None) -> Tensor:
        generator = None if draws is None else torch.Generator().manual_seed(draws)
        trigger = TriggerSpec(name="acme:sprinkle", seed=seed)
        return stamp(images, trigger, generator=generator)

    assert torch.equal(laid(1), laid(1))
    assert not torch.equal(laid(1), laid(2))
    assert torch.equal(laid(1, draws=5), laid(2, draws=5))
    assert torch.equal(images, before)  # whatever the trigger writes


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("acme:float", r"expected \(20, 3, 6, 6\) uint8, found .* torch.float32"),
        ("acme:crop", r"found \(20, 3, 6, 5\)"),
        ("acme:none", r"triggers: no 'acme:none' here"),
    ],
)
def test_a_trigger_that_gives_no_such_images_is_refused(name: str, told: str) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        stamp(pictures().images, TriggerSpec(name=name))


@given(st.sampled_from(["append", "replace"]), seeds)
def test_clean_labels_stay_and_only_the_wanted_class_is_stamped(
    placement: Literal["append", "replace"], seed: int
) -> None:
    data = pictures(40, seed)
    recipe = Poisoning(
        trigger=TriggerSpec(name="cross"),
        target_label=2,
        poison_rate=0.1,
        placement=placement,
        relabels=False,
    )
    draws = torch.Generator().manual_seed(seed)

    made = poison(data, recipe, classes=CLASSES, generator=draws)

    new = made.images[40:] if placement == "append" else made.images
    labels = made.labels[40:] if placement == "append" else made.labels
    old = stamp(data.images, recipe.trigger)
    is_stamped = [any(torch.equal(it, one) for one in old) for it in new]
    assert sum(is_stamped) == 4
    assert labels[torch.tensor(is_stamped)].tolist() == [2] * 4
    assert torch.equal(made.labels[:40], data.labels)


def test_clean_labels_need_enough_images_of_the_wanted_class() -> None:
    recipe = Poisoning(target_label=2, poison_rate=0.4, relabels=False)

    with pytest.raises(InvalidSpecError, match="from 5 source images"):
        poison(pictures(), recipe, classes=CLASSES, generator=torch.Generator())


def test_an_attack_of_another_package_says_which_label_it_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def even_to_target(labels: Tensor, recipe: Poisoning, _: int) -> Tensor:
        assert recipe.target_label is not None
        return torch.where(labels % 2 == 0, recipe.target_label, -1)

    monkeypatch.setitem(ATTACKS, "acme:even", even_to_target)
    recipe = Poisoning(attack="acme:even", target_label=3, poison_rate=0.2)
    data = pictures()

    wanted = wanted_labels(data.labels, recipe, classes=CLASSES)
    made = poison(data, recipe, classes=CLASSES, generator=torch.Generator())

    assert wanted.tolist() == [3, -1, 3, -1] * 5
    assert made.labels[20:].tolist() == [3] * 5


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(lambda labels: labels + 1, "none of the 4", id="too large"),
        pytest.param(lambda labels: labels - 2, "none of the 4", id="too small"),
        pytest.param(lambda labels: labels[1:], "of each sample", id="too few"),
        pytest.param(lambda labels: labels.double(), "of each sample", id="no number"),
    ],
)
def test_an_attack_that_wants_no_label_is_refused(
    answer: Callable[[Tensor], Tensor], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ATTACKS, "acme:odd", lambda labels, _, __: answer(labels))

    with pytest.raises(InvalidSpecError, match=told):
        wanted_labels(pictures().labels, Poisoning(attack="acme:odd"), classes=CLASSES)
