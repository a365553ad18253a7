"""Augmentation: every image its own way, no farther than told."""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model_zoo.statements.jobs import AugmentationName
from trainer.training.augmentation import MOTIONS, Motion, augmentation, moved

STILL = Motion(degrees=0, scale=0, shift=0)
SIDE = 65
RADIUS = 20

seeds = st.integers(0, 2**32 - 1)
motions = st.sampled_from(sorted(MOTIONS))
channels = st.sampled_from([1, 3])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, channels: int = 1, side: int = 12, *, seed: int = 0) -> Tensor:
    shape = (n, channels, side, side)
    return torch.randint(256, shape, dtype=torch.uint8, generator=seeded(seed))


def lit(n: int, *, right: int) -> Tensor:
    """N dark images with a blot that many pixels to the right of the centre."""
    images = torch.zeros(n, 1, SIDE, SIDE)
    middle = SIDE // 2
    images[:, :, middle - 1 : middle + 2, middle + right - 1 : middle + right + 2] = 1
    return images


def blots(images: Tensor) -> Tensor:
    """Return where the light of each image is, (N, 2): across and down from centre."""
    away = torch.arange(SIDE) - SIDE // 2
    light = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    return torch.stack(
        [(light.sum(1) * away).sum(1), (light.sum(2) * away).sum(1)], dim=1
    )


def test_every_name_a_spec_can_ask_for_is_registered() -> None:
    assert {*MOTIONS, "none"} == set(get_args(AugmentationName))
    assert augmentation("none") is None


@given(motions, st.integers(1, 5), channels, seeds)
def test_the_same_seed_moves_alike_and_the_argument_is_not_written(
    name: str, n: int, channels: int, seed: int
) -> None:
    images, move = noise(n, channels, seed=seed), augmentation(name)
    assert move is not None

    first, again = move(images, seeded(seed)), move(images, seeded(seed))

    assert torch.equal(first, again)
    assert torch.equal(images, noise(n, channels, seed=seed))
    assert (first.shape, first.dtype) == (images.shape, torch.float32)


@given(motions, channels, seeds)
def test_pixels_stay_between_black_and_white(
    name: str, channels: int, seed: int
) -> None:
    images = noise(4, channels, seed=seed)
    found = moved(images, replace(MOTIONS[name], light=0.9), generator=seeded(seed))

    assert found.isfinite().all()
    assert ((found >= 0) & (found <= 1)).all()


@given(motions, channels, seeds)
def test_bytes_move_as_the_same_pixels_in_floats_do(
    name: str, channels: int, seed: int
) -> None:
    images, motion = noise(3, channels, seed=seed), MOTIONS[name]
    floats = images.float() / 255
    before = floats.clone()

    found = moved(floats, motion, generator=seeded(seed))

    assert torch.equal(found, moved(images, motion, generator=seeded(seed)))
    assert torch.equal(floats, before)


@given(st.integers(1, 5), channels, st.integers(2, 40), seeds)
def test_without_motion_an_image_stays_as_it_is(
    n: int, channels: int, side: int, seed: int
) -> None:
    images = noise(n, channels, side, seed=seed)

    found = moved(images, STILL, generator=seeded(seed))

    torch.testing.assert_close(found, images.float() / 255, rtol=0, atol=1e-4)
    assert torch.equal(found.mul(255).round().to(torch.uint8), images)


@given(motions, seeds)
def test_equal_images_are_moved_each_its_own_way(name: str, seed: int) -> None:
    images = noise(1).expand(6, 1, 12, 12)

    found = moved(images, MOTIONS[name], generator=seeded(seed))

    assert len({tuple(image.flatten().tolist()) for image in found}) == 6


@pytest.mark.parametrize(
    ("motion", "farthest"),
    [
        pytest.param(replace(STILL, shift=0.1), 0.1 * SIDE, id="shift"),
        pytest.param(
            replace(STILL, degrees=12),
            2 * RADIUS * math.sin(math.radians(12) / 2),
            id="rotation",
        ),
        pytest.param(replace(STILL, scale=0.1), RADIUS / 0.9 - RADIUS, id="scale"),
    ],
)
def test_nothing_moves_farther_than_told_and_some_images_nearly_as_far(
    motion: Motion, farthest: float
) -> None:
    found = moved(lit(300, right=RADIUS), motion, generator=seeded(0))

    offset = (blots(found) - torch.tensor([float(RADIUS), 0])).abs().amax(0)
    # the middle of a blot of whole pixels is known to a fraction of one
    assert (offset <= farthest + 0.3).all()
    assert offset.amax() >= 0.9 * farthest - 0.3


def test_a_turn_goes_either_way_about_the_centre() -> None:
    images = lit(300, right=RADIUS)
    places = blots(moved(images, replace(STILL, degrees=12), generator=seeded(0)))

    torch.testing.assert_close(
        places.norm(dim=1), torch.full((300,), float(RADIUS)), rtol=0, atol=0.3
    )
    assert places[:, 1].amin() < -1
    assert places[:, 1].amax() > 1


def test_images_are_lit_and_dimmed_by_no_more_than_told() -> None:
    grey = torch.full((300, 1, 8, 8), 0.5)

    found = moved(grey, replace(STILL, light=0.3), generator=seeded(0)) / 0.5

    assert float(found.min()) == pytest.approx(0.7, abs=0.02)
    assert float(found.max()) == pytest.approx(1.3, abs=0.02)


def test_half_of_the_images_are_mirrored_and_the_rest_are_not() -> None:
    images = noise(1).expand(200, 1, 12, 12)

    found = moved(images, replace(STILL, mirrored=True), generator=seeded(0))

    bytes_ = found.mul(255).round().to(torch.uint8)
    flipped = (bytes_ == images.flip(3)).all((1, 2, 3))
    kept = (bytes_ == images).all((1, 2, 3))
    assert (flipped ^ kept).all()
    assert 70 < int(flipped.sum()) < 130  # 100 expected, standard deviation 7


def test_what_comes_in_from_outside_repeats_the_edge() -> None:
    white = torch.ones(50, 1, 8, 8)

    found = moved(white, MOTIONS["digits"], generator=seeded(0))

    torch.testing.assert_close(found, white)
