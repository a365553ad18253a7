"""Triggers: the paper's pixels, and nothing else, ever."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.jobs import TriggerName
from trainer.attacks.triggers import TRIGGERS, Trigger, stamp

names = st.sampled_from(sorted(TRIGGERS))
seeds = st.integers(0, 2**32 - 1)


def noise(n: int, *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("single-pixel", [[26, 26]]),
        ("pattern", [[24, 26], [25, 25], [26, 24], [26, 26]]),
    ],
)
def test_the_pixels_are_the_papers(name: str, pixels: list[list[int]]) -> None:
    stamped = stamp(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), TRIGGERS[name])

    assert stamped[0, 0].nonzero().tolist() == pixels
    assert set(stamped.flatten().tolist()) == {0, 255}


def test_every_name_a_spec_can_ask_for_is_registered() -> None:
    assert set(TRIGGERS) == set(get_args(TriggerName))


@given(names, st.integers(0, 5), seeds)
def test_outside_the_mask_nothing_changes_and_the_argument_is_not_written(
    name: str, n: int, seed: int
) -> None:
    trigger, images = TRIGGERS[name], noise(n, seed=seed)

    stamped = stamp(images, trigger)

    assert torch.equal(images, noise(n, seed=seed))
    assert torch.equal(stamped[:, ~trigger.mask], images[:, ~trigger.mask])
    assert (stamped[:, trigger.mask] == 255).all()


@given(names, seeds)
def test_stamping_twice_is_stamping_once(name: str, seed: int) -> None:
    once = stamp(noise(3, seed=seed), TRIGGERS[name])

    assert torch.equal(stamp(once, TRIGGERS[name]), once)


def test_images_of_another_size_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match="on"):
        stamp(torch.zeros(1, 1, 32, 32, dtype=torch.uint8), TRIGGERS["pattern"])
    with pytest.raises(ValueError, match="on"):
        stamp(torch.zeros(1, 1, 28, 28), TRIGGERS["pattern"])


def test_a_trigger_that_changes_nothing_cannot_be_built() -> None:
    pattern = torch.zeros(1, 28, 28, dtype=torch.uint8)
    with pytest.raises(ValueError, match="one True"):
        Trigger(pattern=pattern, mask=pattern.bool())
    with pytest.raises(ValueError, match="bool mask"):
        Trigger(pattern=pattern, mask=pattern)
