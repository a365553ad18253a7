"""A network that is only looked at: it answers as it is used, and learns nothing."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainer.networks import SplitNetwork
from trainer.networks.activations import mean_activations
from trainer.networks.inference import predict
from trainer.training.transfer import features

CPU = torch.device("cpu")


def left_learning() -> SplitNetwork:
    """Answers with the brightest pixel of four; while it learns it sees none of them.

    Its norm has nothing to change as long as it is not measured again.
    """
    network = SplitNetwork(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 1, kernel_size=1, bias=False),
                norm=nn.BatchNorm2d(1, eps=0),
                relu1=nn.ReLU(),
            )
        ),
        nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(), lost=nn.Dropout(p=1.0), fc1=nn.Linear(4, 4)
            )
        ),
        image_shape=(1, 2, 2),
    )
    weights = {
        "convolutions.conv1.weight": torch.ones(1, 1, 1, 1),
        "fully_connected.fc1.weight": torch.eye(4),
        "fully_connected.fc1.bias": torch.zeros(4),
    }
    network.load_state_dict(network.state_dict() | weights)
    return network.train()


def one_bright_pixel_each() -> Tensor:
    """Return four images, the first bright at its first pixel, and so on."""
    return (torch.eye(4) * 255).to(torch.uint8).view(4, 1, 2, 2)


def test_an_answer_is_that_of_a_network_in_use() -> None:
    found = predict(left_learning(), one_bright_pixel_each(), device=CPU)

    assert found.tolist() == [0, 1, 2, 3]


def test_what_convolutions_answer_is_that_of_a_network_in_use() -> None:
    found = features(left_learning(), one_bright_pixel_each(), device=CPU)

    assert torch.equal(found.flatten(1), torch.eye(4))


def test_activations_are_those_of_a_network_in_use() -> None:
    found = mean_activations(left_learning(), one_bright_pixel_each(), device=CPU)

    assert found["conv1"].tolist() == [0.25]


@pytest.mark.parametrize("look", [predict, features, mean_activations])
def test_nothing_is_learned_from_what_is_only_looked_at(
    look: Callable[..., object],
) -> None:
    network = left_learning()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    look(network, one_bright_pixel_each(), device=CPU)

    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
