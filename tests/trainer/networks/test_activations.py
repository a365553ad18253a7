"""Units of a network of two: what they answer, and some of them changed."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from trainer.networks import SplitNetwork
from trainer.networks.activations import (
    ablated,
    amplified,
    layers,
    mean_activations,
    units_for,
)

CPU = torch.device("cpu")


def of_two_units() -> SplitNetwork:
    """The first unit answers the brightness of a pixel, the second what is missing."""
    network = SplitNetwork(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 2, kernel_size=1), relu1=nn.ReLU(inplace=True)
            )
        ),
        nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc2=nn.Linear(8, 3))),
        image_shape=(1, 2, 2),
    )
    weights = {
        "convolutions.conv1.weight": torch.tensor([1.0, -1.0]).view(2, 1, 1, 1),
        "convolutions.conv1.bias": torch.tensor([0.0, 1.0]),
    }
    network.load_state_dict(network.state_dict() | weights)
    return network


def images(*, black: int = 0, white: int = 0, one_white_pixel: int = 0) -> Tensor:
    found = torch.zeros(black + white + one_white_pixel, 1, 2, 2, dtype=torch.uint8)
    found[black : black + white] = 255
    found[black + white :, 0, 1, 0] = 255
    return found


def test_a_mean_is_over_places_and_over_images() -> None:
    shown = images(black=1, white=1, one_white_pixel=2)

    found = mean_activations(of_two_units(), shown, device=CPU)

    # brightness 0, 1, 1/4 and 1/4; fc2 has no ReLU behind it
    assert found.keys() == {"conv1"}
    assert found["conv1"].tolist() == [1.5 / 4, 2.5 / 4]


def test_images_count_alike_whatever_the_batch() -> None:
    shown = images(black=1200, white=300)  # more than are shown at a time

    found = mean_activations(of_two_units(), shown, device=CPU)

    assert found["conv1"].tolist() == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize("factor", [0, 3])
def test_of_a_changed_network_only_the_units_named_answer_otherwise(
    factor: float,
) -> None:
    network, shown = of_two_units(), images(black=1, white=1, one_white_pixel=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    changed = amplified(network, "conv1", [1], factor=factor)

    found = mean_activations(changed, shown, device=CPU)
    assert found["conv1"].tolist() == [1.5 / 4, factor * 2.5 / 4]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_an_ablated_unit_is_silent() -> None:
    changed = ablated(of_two_units(), "conv1", [0])

    found = mean_activations(changed, images(white=1, one_white_pixel=1), device=CPU)

    assert found["conv1"].tolist() == [0, 0.75 / 2]


def test_layers_are_those_with_weights_from_input_to_output() -> None:
    assert list(layers(of_two_units())) == ["conv1", "fc2"]


@pytest.mark.parametrize(
    ("share", "units"),
    # of 8 in all, by size: 4, 2, 1 and 1
    [(0.25, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.8, 3), (1.0, 4)],
)
def test_few_units_carry_a_share_of_all_differences_up_or_down(
    share: float, units: int
) -> None:
    differences = torch.tensor([1.0, -4.0, 0.0, 1.0, 2.0])

    assert units_for(share, differences) == units


def test_where_nothing_differs_no_unit_carries_anything() -> None:
    assert units_for(0.5, torch.zeros(3)) == 0
