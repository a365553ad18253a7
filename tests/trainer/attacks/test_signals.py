"""Signals: a wave that is added, and a field that bends, known pixel by pixel."""

import math

import torch
from torch import Tensor

from model_zoo.statements.jobs import TriggerSpec
from trainer.attacks.triggers import stamp

SIDE = 28


def grey(value: int, n: int = 2) -> Tensor:
    return torch.full((n, 1, SIDE, SIDE), value, dtype=torch.uint8)


def test_the_wave_is_of_the_opacity_and_the_same_in_every_row() -> None:
    waved = stamp(grey(100), TriggerSpec(name="sine", opacity=0.2))[0, 0]
    expected = [
        round(100 + 0.2 * 255 * math.sin(math.tau * 6 * column / SIDE))
        for column in range(SIDE)
    ]
    assert all(
        abs(found - known) <= 1
        for found, known in zip(waved[0].tolist(), expected, strict=True)
    )
    assert torch.equal(waved, waved[:1].expand(SIDE, SIDE))


def test_the_wave_is_cut_at_black_and_white() -> None:
    assert int(stamp(grey(255), TriggerSpec(name="sine", opacity=0.5)).max()) == 255
    assert int(stamp(grey(0), TriggerSpec(name="sine", opacity=0.5)).min()) == 0


def test_a_warp_moves_what_is_there_by_about_a_pixel_and_adds_nothing() -> None:
    line = grey(0)
    line[:, :, :, 14] = 255
    bent = stamp(line, TriggerSpec(name="warp", seed=3))
    columns = torch.arange(SIDE, dtype=torch.float32)
    mass = bent[0, 0].float()
    middles = (mass * columns).sum(1) / mass.sum(1)
    assert 0.05 < (middles - 14).abs().max() < 3
    assert torch.equal(stamp(grey(90), TriggerSpec(name="warp")), grey(90))


def test_the_seed_decides_the_warp_and_equal_seeds_bend_alike() -> None:
    image = torch.randint(
        256,
        (3, 3, SIDE, SIDE),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )
    first, again, other = (
        stamp(image, TriggerSpec(name="warp", seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    half = stamp(image, TriggerSpec(name="warp", seed=1, opacity=0.5)).float()
    assert (half - (image.float() + first.float()) / 2).abs().max() <= 1
