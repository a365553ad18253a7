"""The rule that finds a backdoor's units: fast, and the same as silencing them one by
one."""

import torch
from torch.nn import functional

from trainer.experiments.signs.neurons import LAYER, silenced
from trainer.networks.activations import ablated
from trainer.networks.inference import as_floats, predict
from trainer.networks.signs_cnn import signs_cnn
from trainer.training.fit import seeded_globals

CPU = torch.device("cpu")


def test_each_step_counts_what_a_network_without_those_units_reads_rightly() -> None:
    with seeded_globals(0):
        network = signs_cnn(3)
        images = torch.randint(256, (60, 3, 48, 48), dtype=torch.uint8)
    labels = torch.arange(60) % 3

    order, right = silenced(network, images, labels, device=CPU)

    assert len(set(order)) == len(order) == 63
    for count in (0, 1, 10, 40, 63):
        found = predict(ablated(network, LAYER, order[:count]), images, device=CPU)
        assert right[count] == int((found == labels).sum())


def test_the_first_is_the_unit_that_is_missed_least() -> None:
    with seeded_globals(0):
        network = signs_cnn(3).eval()
        images = torch.randint(256, (60, 3, 48, 48), dtype=torch.uint8)
    labels = torch.arange(60) % 3

    order, _ = silenced(network, images, labels, device=CPU)

    with torch.inference_mode():
        losses = [
            float(
                functional.cross_entropy(
                    ablated(network, LAYER, [unit])(as_floats(images)), labels
                )
            )
            for unit in range(64)
        ]
    assert order[0] == losses.index(min(losses))
