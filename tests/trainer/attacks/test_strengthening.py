"""The units that answer to a trigger, where each unit's rise is known by hand."""

from collections import OrderedDict
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from trainer.attacks.strengthening import backdoor_units
from trainer.networks import SplitNetwork

CPU = torch.device("cpu")


def network_of(weights: Sequence[float]) -> SplitNetwork:
    """Unit u answers 1 + ``weights[u]`` times the brightness; none is below 0."""
    network = SplitNetwork(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, len(weights), kernel_size=1), relu1=nn.ReLU()
            )
        ),
        nn.Sequential(nn.Flatten(), nn.Linear(4 * len(weights), 2)),
        image_shape=(1, 2, 2),
    )
    learned = {
        "convolutions.conv1.weight": torch.tensor(weights).view(-1, 1, 1, 1),
        "convolutions.conv1.bias": torch.ones(len(weights)),
    }
    network.load_state_dict(network.state_dict() | learned)
    return network


@pytest.mark.parametrize(
    ("rises", "found"),
    [
        pytest.param(
            [0.25, 0.5, -1.0, 1.0], (3, 1), id="half of the largest is enough"
        ),
        pytest.param([0.25, 0.49, -1.0, 1.0], (3,), id="less than half is not"),
        pytest.param([0.125, -0.5, 0.25, 0.0], (2, 0), id="however small they are"),
        pytest.param([0.0, -1.0, -0.5], (), id="what falls is not the backdoor's"),
        pytest.param([0.0, 0.0], (), id="nothing rises"),
    ],
)
def test_the_backdoors_units_rise_by_half_of_the_largest_rise_the_strongest_first(
    rises: list[float], found: tuple[int, ...]
) -> None:
    clean = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)

    units, differences = backdoor_units(
        network_of(rises), clean, clean + 255, layer="conv1", device=CPU
    )

    assert units == found
    assert differences.tolist() == pytest.approx(rises)
