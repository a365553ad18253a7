"""Fine-pruning: silent units go first, accuracy stops it, and cut units stay cut."""

import inspect

import torch

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
