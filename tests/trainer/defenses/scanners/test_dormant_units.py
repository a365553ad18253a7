"""Units that clean images hardly wake, forced on."""

import pytest
import torch
from torch import nn

from model_zoo.errors import InvalidSpecError
from tests.trainer.defenses.scanners.planted import CLASSES, SIDE, TARGET, images
from trainer.defenses.scanners.dormant_units import IMAGES, dormant_units
from trainer.defenses.scanners.subject import Budget, BudgetSpentError, Subject
from trainer.networks import SplitNetwork

IDLE = 4
"""Units beside those of the classes, which the black top row alone would wake."""
UNITS = CLASSES + IDLE


def network(pull: float, *, units: int = UNITS) -> SplitNetwork:
    """Return a network with a unit a class; the idle ones pull to TARGET."""
    first, second = nn.Linear(SIDE * SIDE, units), nn.Linear(units, CLASSES)
    with torch.no_grad():
        weight = torch.zeros(units, SIDE, SIDE)
        for label in range(min(units, CLASSES)):
            weight[label, 1:, label + 1] = 0.5
        weight[CLASSES:, 0, :] = 0.5
        first.weight.copy_(weight.flatten(1))
        first.bias.fill_(-1.0)
        second.weight.zero_().fill_diagonal_(1.0)
        second.weight[TARGET, CLASSES:] = pull
        second.bias.zero_()
    half = nn.Sequential(nn.Flatten(), first, nn.ReLU())
    made = SplitNetwork(half, nn.Sequential(second), image_shape=(1, SIDE, SIDE))
    return made.eval().requires_grad_(requires_grad=False)


def subject(made: SplitNetwork, *, passes: int = 10**6) -> Subject:
    return Subject(
        network=made,
        images=images(),
        budget=Budget(passes=passes, seconds=600),
        generator=torch.Generator().manual_seed(0),
    )


def test_a_dormant_unit_that_outvotes_every_image_is_found_with_its_label() -> None:
    clean, backdoored = (dormant_units(subject(network(it))) for it in (0.0, 3.0))
    assert backdoored.target_labels == (TARGET,)
    assert backdoored.score > 1 > clean.score  # in margins of the network's own
    assert backdoored.features["dormant-one"] > clean.features["dormant-one"] + 1


def test_several_that_say_the_same_say_more_together() -> None:
    features = dormant_units(subject(network(0.6))).features
    assert features["dormant-together"] > features["dormant-one"] + 1


def test_every_pass_is_counted() -> None:
    seen = subject(network(3.0))
    dormant_units(seen)
    few = round(0.25 * UNITS)
    assert seen.budget.spent == (2 + few + 1) * CLASSES * IMAGES
    with pytest.raises(BudgetSpentError):
        dormant_units(subject(network(3.0), passes=seen.budget.spent - 1))


def test_one_unit_and_dead_units_are_no_subject() -> None:
    with pytest.raises(InvalidSpecError, match="one unit"):
        dormant_units(subject(network(3.0, units=1)))
    dead = network(3.0)
    with torch.no_grad():
        for layer in dead.convolutions.modules():
            if isinstance(layer, nn.Linear):
                layer.bias.fill_(-1e6)
    with pytest.raises(InvalidSpecError, match="no unit"):
        dormant_units(subject(dead))
