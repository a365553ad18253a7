"""Units of small networks: what wakes them and what they move is known by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.evaluation import Proportion
from tests.trainer.defenses.inspection.four_units import (
    DEAD,
    FIRST,
    SECOND,
    SLEEPER,
    clean,
    four_units,
    functional,
)
from tests.trainer.networks.test_any_network import Sum, small
from trainer.data import LabelledImages
from trainer.defenses.inspection import units as inspection
from trainer.defenses.inspection.units import Inspection, Unit, inspect_units
from trainer.networks import SplitNetwork
from trainer.training.fit import seeded_globals

CPU = torch.device("cpu")


def inspected(
    network: SplitNetwork,
    data: LabelledImages,
    *,
    layer: str | None = None,
    units: int = 4,
) -> Inspection:
    return inspect_units(
        network,
        data,
        layer=layer,
        units=units,
        generator=torch.Generator().manual_seed(0),
        device=CPU,
    )


def of_four(number: int) -> Unit:
    found = inspected(four_units(), clean())
    return next(it for it in found.least_activated if it.peak.number == number)


def test_a_rate_is_the_share_of_images_that_wake_the_unit() -> None:
    found = inspected(four_units(), clean(black=5, first=4, second=1))

    assert found.accuracy == Proportion(successes=10, n=10)
    assert list(found.activity) == ["fc1"]
    activity = found.activity["fc1"]
    assert activity.activated.tolist() == [4, 0, 0, 1]
    assert activity.mean.tolist() == pytest.approx([0.4, 0, 0, 0.1])
    assert activity.largest.tolist() == [1, 0, 0, 1]


def test_rates_are_of_all_images_whatever_the_batch() -> None:
    data = clean(black=1500, first=700, second=300)  # more than are shown at a time

    found = inspected(four_units(), data)

    assert found.activity["fc1"].activated.tolist() == [700, 0, 0, 300]
    assert found.activity["fc1"].mean.tolist() == pytest.approx([0.28, 0, 0, 0.12])


def test_sleepers_that_something_wakes_come_first_then_the_dead_then_the_seldom() -> (
    None
):
    found = inspected(four_units(), clean())

    order = [it.peak.number for it in found.least_activated]
    assert order == [SLEEPER, DEAD, SECOND, FIRST]
    assert found.furthest == ()


def test_the_input_that_maximises_a_linear_unit_has_the_signs_of_its_weights() -> None:
    sleeper = of_four(SLEEPER).peak

    assert sleeper.image.tolist() == [[[1, 0], [0, 1]]]
    assert sleeper.level == 1 / 64
    assert sleeper.slope.tolist() == [[1 / 32, 1 / 32], [1 / 32, 1 / 32]]
    first = of_four(FIRST).peak
    assert first.image[0, 0, 0] == 1
    assert first.slope.tolist() == [[1, 0], [0, 0]]


def test_a_unit_that_alone_moves_label_3_is_found_to_move_it_and_no_other() -> None:
    unit = of_four(SLEEPER)

    assert (unit.peak.label, unit.peak.label_without) == (3, 0)
    assert unit.peak.moved == unit.beyond == 10  # 640 / 64, all of it unseen
    assert unit.forced is not None
    assert list(unit.forced.logits) == [0, 0, 0, 10]
    assert unit.forced.changed == Proportion(successes=10, n=10)
    assert (unit.forced.label, unit.forced.to_label) == (3, 10)
    assert list(unit.ablated.logits) == [0, 0, 0, 0]
    assert (unit.ablated.changed.successes, unit.ablated.label) == (0, None)


def test_a_unit_that_no_input_wakes_is_not_forced_on() -> None:
    unit = of_four(DEAD)

    assert (unit.peak.level, unit.peak.moved, unit.beyond) == (0, 0, 0)
    assert unit.forced is None
    assert unit.ablated.changed.successes == 0


def test_without_a_unit_images_that_it_read_get_another_label() -> None:
    unit = of_four(FIRST)

    assert unit.ablated.logits == pytest.approx((-0.4, 0, 0, 0))
    assert (unit.ablated.changed.successes, unit.ablated.label) == (4, 2)
    assert unit.forced is not None
    assert unit.forced.logits == pytest.approx((0.6, 0, 0, 0))
    # of the black ones; that with pixel 1 white is a tie
    assert (unit.forced.label, unit.forced.to_label) == (0, 6)
    assert unit.beyond == 0  # clean images wake it as much as any can


def test_of_the_others_those_that_go_furthest_beyond_clean_images_are_looked_at() -> (
    None
):
    grey = clean(black=0, first=6, second=2)
    fifths = torch.tensor([1, 3], dtype=torch.uint8)  # of pixels 0 and 1
    grey = grey.repainted(grey.images // 5 * fifths)

    found = inspected(four_units(), grey, units=2)

    assert [it.peak.number for it in found.least_activated] == [SLEEPER, DEAD]
    # clean images wake FIRST up to a fifth, SECOND up to three
    assert [it.peak.number for it in found.furthest] == [FIRST, SECOND]
    assert [it.beyond for it in found.furthest] == pytest.approx([0.8, 0.4])


def test_a_channel_is_forced_place_by_place_behind_norm_and_branch() -> None:
    with seeded_globals(3):
        network = small(5).eval()
    network.convolutions.get_submodule("norm").get_parameter("bias").data.fill_(0.3)
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(256, (8, 1, 6, 6), generator=draws, dtype=torch.uint8)
    data = LabelledImages(images=images, labels=torch.arange(8) % 5)

    found = inspected(network, data, layer="second")

    body = network.convolutions
    assert isinstance(body, Sum)
    with torch.no_grad():
        first = body.first(images.float() / 255)
        second = body.relu(body.norm(body.second(first)))
        before = network.fully_connected(first + second)
        for unit in found.least_activated:
            for effect, answers in (
                (unit.forced, unit.peak.answers),
                (unit.ablated, torch.zeros(6, 6)),
            ):
                changed = second.clone()
                changed[:, unit.peak.number] = answers
                after = network.fully_connected(first + changed)
                assert effect is not None
                expected = (after - before).mean(0).tolist()
                assert effect.logits == pytest.approx(expected, abs=1e-5)
                moved = after.argmax(1) != before.argmax(1)
                assert effect.changed.successes == int(moved.sum())
        assert unit.peak.answers.shape == (6, 6)


def test_it_costs_as_many_passes_as_it_says_and_leaves_the_network_as_it_was() -> None:
    network, passes = four_units(), {True: 0, False: 0}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passes[inputs[0].requires_grad] += len(inputs[0])

    hook = network.register_forward_pre_hook(count)
    found = inspected(network, clean())

    hook.remove()
    assert passes == {True: found.gradient_passes, False: found.forward_passes}
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not [it for it in network.modules() if it._forward_hooks]


def test_the_same_seed_finds_the_same() -> None:
    with seeded_globals(3):
        network = small(5).eval()
    data = LabelledImages(
        images=torch.zeros(5, 1, 6, 6, dtype=torch.uint8), labels=torch.arange(5)
    )

    one, two = (inspected(network, data) for _ in range(2))

    assert len(one.least_activated) == 4
    assert len(one.furthest) == 4
    for a, b in zip(
        one.least_activated + one.furthest,
        two.least_activated + two.furthest,
        strict=True,
    ):
        assert torch.equal(a.peak.image, b.peak.image)
        assert a.forced == b.forced


def test_of_a_wide_network_the_least_activated_are_maximised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspection, "MOST_MAXIMISED", 3)

    found = inspected(four_units(), clean())

    assert found.maximised == 3
    order = [it.peak.number for it in found.least_activated + found.furthest]
    assert order == [SLEEPER, DEAD, SECOND]
    assert len(found.activity["fc1"].activated) == 4


def test_a_network_that_answers_all_images_alike_is_called_constant() -> None:
    network = four_units()
    assert not inspected(network, clean()).is_constant
    network.fully_connected.get_parameter("weight").data.zero_()

    found = inspected(network, clean())

    assert found.is_constant
    assert {it.peak.moved for it in found.least_activated} == {0}


@pytest.mark.parametrize(
    ("network", "data", "layer", "told"),
    [
        (four_units, clean(black=1, first=1, second=1), None, "3 clean images for 4"),
        (
            four_units,
            replace(clean(), labels=torch.full((10,), 4)),
            None,
            "the network has 0 to 3",
        ),
        (
            four_units,
            clean().repainted(torch.zeros(10, 1, 3, 3, dtype=torch.uint8)),
            None,
            "1 x 3 x 3",
        ),
        (functional, clean(), None, "has to be a module"),
        (four_units, clean(), "fc9", "layers with a ReLU or GELU are fc1"),
    ],
    ids=["few images", "foreign label", "other shape", "no ReLU module", "no layer"],
)
def test_what_cannot_be_inspected_is_refused(
    network: Callable[[], SplitNetwork],
    data: LabelledImages,
    layer: str | None,
    told: str,
) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        inspected(network(), data, layer=layer)
