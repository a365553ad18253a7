"""Units of a network of two: what they answer, and some of them changed."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.activations import (
    ablated,
    amplified,
    before_gates,
    layers,
    mean_activations,
    units_for,
    with_open_gates,
)
from trainer.training.fit import seeded_globals

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


def of_tokens() -> SplitNetwork:
    """Each row of an image is a token; the units are its first pixel and minus it."""
    body = nn.Sequential(OrderedDict(rows=nn.Flatten(1, 2), fc1=nn.Linear(2, 2)))
    body.add_module("gelu", nn.GELU())
    network = SplitNetwork(
        body,
        nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc2=nn.Linear(6, 3))),
        image_shape=(1, 3, 2),
    )
    weights = {
        "convolutions.fc1.weight": torch.tensor([[1.0, 0], [-1, 0]]),
        "convolutions.fc1.bias": torch.zeros(2),
    }
    network.load_state_dict(network.state_dict() | weights)
    return network


def test_tokens_are_places_and_the_units_are_those_of_the_layer() -> None:
    shown = torch.zeros(2, 1, 3, 2, dtype=torch.uint8)
    shown[1, 0, :2, 0] = 255  # two of its three tokens

    found = mean_activations(of_tokens(), shown, device=CPU)

    assert found.keys() == {"fc1"}
    assert found["fc1"].tolist() == pytest.approx([1 / 3, 0])


def test_what_is_put_before_a_gate_is_put_where_its_unit_is() -> None:
    draws = torch.Generator().manual_seed(0)
    network, shown = of_tokens(), torch.rand(4, 1, 3, 2, generator=draws)

    def put(_: str, given: Tensor) -> Tensor:
        assert given.shape == (4, 2, 3)
        changed = given.clone()
        changed[:, 1] = 5.0
        return changed

    with before_gates(network, put):
        answers = network.features(shown)

    assert answers[..., 1].eq(nn.GELU()(torch.tensor(5.0))).all()
    torch.testing.assert_close(answers[..., 0], nn.GELU()(shown[:, 0, :, 0]))


@pytest.mark.parametrize("name", NETWORKS)
def test_with_its_gates_open_a_network_is_a_matrix_or_it_is_said_that_it_is_none(
    name: str,
) -> None:
    with seeded_globals(0):
        network = NETWORKS[name](3)
    if name == "tiny-vit":
        with pytest.raises(InvalidSpecError, match="other nonlinearities"):
            with_open_gates(network)
        return

    linear = with_open_gates(network).double()

    shown = torch.rand(network.image_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        start, once, twice = linear(torch.stack([0 * shown, shown, 2 * shown]).double())
    torch.testing.assert_close(twice - start, 2 * (once - start), rtol=1e-6, atol=0)


def test_a_relu_that_is_a_function_stays_shut_and_is_noticed() -> None:
    network = of_two_units()
    network.load_state_dict(
        network.state_dict() | {"convolutions.conv1.bias": torch.tensor([-0.5, 0.5])}
    )
    with_open_gates(network)
    network.convolutions = nn.Sequential(network.convolutions[0], Shut())  # type: ignore[index]

    with pytest.raises(InvalidSpecError, match="no matrix"):
        with_open_gates(network)


class Shut(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(images)
