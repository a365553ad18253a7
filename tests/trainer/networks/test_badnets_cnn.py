"""The paper's network, row by row of its table 1."""

import torch

from model_zoo.statements import recipes
from trainer.networks import NETWORKS
from trainer.networks.badnets_cnn import badnets_cnn


def test_every_layer_gives_the_shape_of_table_1() -> None:
    network, shapes = badnets_cnn(10), {}
    values = torch.zeros(3, 1, 28, 28)
    for half in (network.convolutions, network.fully_connected):
        for name, layer in half.named_children():
            values = layer(values)
            shapes[name] = tuple(values.shape[1:])

    assert shapes == {
        "conv1": (16, 24, 24),
        "relu1": (16, 24, 24),
        "pool1": (16, 12, 12),
        "conv2": (32, 8, 8),
        "relu2": (32, 8, 8),
        "pool2": (32, 4, 4),
        "flatten": (512,),
        "fc1": (512,),
        "relu3": (512,),
        "fc2": (10,),
    }


def test_it_has_the_parameters_that_the_table_implies() -> None:
    by_hand = (16 * 25 + 16) + (32 * 16 * 25 + 32) + (512 * 512 + 512) + (5120 + 10)

    assert sum(p.numel() for p in badnets_cnn(10).parameters()) == by_hand


def test_the_halves_and_the_last_convolution_are_where_transfer_and_pruning_look() -> (
    None
):
    network = badnets_cnn(5)
    images = torch.rand(2, 1, 28, 28)

    halves = network.fully_connected(network.convolutions(images))

    assert torch.equal(network(images), halves)
    assert network.last_convolution.out_channels == 32
    assert network.classes == 5


def test_every_name_a_spec_can_ask_for_is_registered() -> None:
    assert set(NETWORKS) == set(recipes.NETWORKS)
