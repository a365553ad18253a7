"""Fine-pruning: silent units go first, accuracy stops it, and cut units stay cut."""

import inspect
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model_zoo.statements.jobs import Schedule
from trainer.data import LabelledImages
from trainer.defenses.repairs.fine_pruning import fine_prune, units_to_prune
from trainer.networks import SplitNetwork
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.training.fit import Runtime, fit, seeded_globals
from trainer.training.transfer import features

CPU = torch.device("cpu")
SHORT = Schedule(epochs=2, batch_size=50, peak_learning_rate=0.1)


def trained(data: LabelledImages, runtime: Runtime) -> SplitNetwork:
    with seeded_globals(0):
        network = badnets_cnn(10)
    fit(
        network,
        data.images,
        data.labels,
        schedule=SHORT,
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )
    return network


def test_units_go_in_order_of_silence(digits: LabelledImages) -> None:
    with seeded_globals(0):
        network = badnets_cnn(10)
    activity = features(network, digits.images, device=CPU).mean((0, 2, 3))

    everything = units_to_prune(network, digits, max_accuracy_loss=1.0, device=CPU)

    assert list(everything) == activity.argsort().tolist()


def test_pruning_stops_before_accuracy_falls_by_more_than_allowed(
    digits: LabelledImages, runtime: Runtime
) -> None:
    network = trained(digits, runtime)

    strict = units_to_prune(network, digits, max_accuracy_loss=0.0, device=CPU)
    lenient = units_to_prune(network, digits, max_accuracy_loss=0.2, device=CPU)

    assert len(strict) < len(lenient) < 32
    assert lenient[: len(strict)] == strict


def eyes() -> SplitNetwork:
    """Unit u sees channel u; the brightest is the answer, and 3 where all is dark."""
    network = SplitNetwork(
        nn.Sequential(nn.Conv2d(3, 3, kernel_size=1), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4)),
        image_shape=(3, 1, 1),
    )
    network.load_state_dict(
        {
            "convolutions.0.weight": torch.eye(3).view(3, 3, 1, 1),
            "convolutions.0.bias": torch.zeros(3),
            "fully_connected.1.weight": torch.eye(4)[:, :3],
            "fully_connected.1.bias": torch.tensor([0, 0, 0, 0.5]),
        }
    )
    return network


def seen_by_eyes() -> LabelledImages:
    """Eight images, each bright in the channel of its label: 5, 1 and 2 of them."""
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 2, 2])
    images = (torch.eye(3)[labels] * 255).to(torch.uint8)
    return LabelledImages(images=images.view(8, 3, 1, 1), labels=labels)


@pytest.mark.parametrize(
    ("allowed", "cut"),
    # without unit 1, 7 of 8 are right; without 2 as well, 5; without 0 as well, none
    [
        (0.0, ()),
        (0.124, ()),
        (1 / 8, (1,)),
        (0.374, (1,)),
        (3 / 8, (1, 2)),
        (0.999, (1, 2)),
        (1.0, (1, 2, 0)),
    ],
)
def test_as_many_units_are_cut_as_the_loss_allows_and_no_more(
    allowed: float, cut: tuple[int, ...]
) -> None:
    found = units_to_prune(
        eyes(), seen_by_eyes(), max_accuracy_loss=allowed, device=CPU
    )

    assert found == cut


def test_all_of_the_clean_images_are_learned_from_and_nothing_else(
    runtime: Runtime,
) -> None:
    data, shown = seen_by_eyes(), Counter[int]()

    def watch(batch: Tensor, indices: Tensor, _: torch.Generator) -> Tensor:
        assert torch.equal(batch, data.images[indices])
        shown.update(indices.tolist())
        return batch

    units, _ = fine_prune(
        eyes(),
        data,
        max_accuracy_loss=1 / 8,
        schedule=SHORT,
        generator=torch.Generator().manual_seed(0),
        runtime=replace(runtime, augment=watch),
    )

    assert units == (1,)
    assert shown == dict.fromkeys(range(8), SHORT.epochs)


def test_choosing_units_does_not_write_the_network(
    digits: LabelledImages, runtime: Runtime
) -> None:
    network = trained(digits, runtime)
    before = {name: t.clone() for name, t in network.state_dict().items()}

    units_to_prune(network, digits, max_accuracy_loss=0.2, device=CPU)

    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_cut_unit_answers_zero_and_stays_cut_while_the_rest_is_fine_tuned(
    digits: LabelledImages, runtime: Runtime
) -> None:
    network = trained(digits, runtime)

    units, epochs = fine_prune(
        network,
        digits,
        max_accuracy_loss=0.1,
        schedule=SHORT,
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )

    assert units
    assert len(epochs) == 2
    answers = features(network, digits.images, device=CPU)
    assert (answers[:, list(units)] == 0).all()
    assert (network.last_convolution.weight[list(units)] == 0).all()


def test_cutting_no_unit_changes_nothing() -> None:
    with seeded_globals(0):
        network = badnets_cnn(10)
    before = network.last_convolution.weight.clone()

    network.cut(())

    assert torch.equal(network.last_convolution.weight, before)


def test_the_defender_is_given_clean_images_and_nothing_of_the_attack() -> None:
    """A new argument must be argued for: no trigger may reach the defence."""
    assert list(inspect.signature(fine_prune).parameters) == [
        "network",
        "clean",
        "max_accuracy_loss",
        "schedule",
        "generator",
        "runtime",
    ]
