"""The larger networks: cut where transfer and pruning look, and clear about inputs."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Schedule
from trainer.data import DATASETS
from trainer.evaluation.metrics import accuracy
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.checkpoints import from_bytes, to_bytes
from trainer.networks.efficientnet_lite0 import _convolution, efficientnet_lite0
from trainer.networks.inference import predict
from trainer.networks.pets_cnn import pets_cnn
from trainer.networks.signs_cnn import signs_cnn
from trainer.networks.tiny_vit import tiny_vit
from trainer.training.fit import Runtime, Segment, fit, replay, seeded_globals
from trainer.training.state import state_from_bytes, state_to_bytes
from trainer.training.transfer import features

CPU = torch.device("cpu")
CONVOLUTIONS = ("signs-cnn", "pets-cnn", "efficientnet-lite0")
LARGER = (*CONVOLUTIONS, "tiny-vit")


def made(name: str, *, classes: int = 4, seed: int = 0) -> SplitNetwork:
    with seeded_globals(seed):
        return NETWORKS[name](classes)


def images_for(network: SplitNetwork, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (n, *network.image_shape)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("name", LARGER)
def test_the_output_layer_is_the_one_that_tells_the_number_of_classes(
    name: str,
) -> None:
    network = made(name)

    assert list(dict(network.fully_connected.named_children()))[-1] == "fc2"
    assert network.classes == 4
    loaded = from_bytes(to_bytes(network), network=name)
    assert loaded.classes == 4
    for key, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)


@pytest.mark.parametrize("name", LARGER)
def test_equal_seeds_give_equal_weights(name: str) -> None:
    assert to_bytes(made(name)) == to_bytes(made(name))
    assert to_bytes(made(name)) != to_bytes(made(name, seed=1))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_relu_stands_right_behind_the_last_convolution(name: str) -> None:
    layers = list(made(name).convolutions.children())
    last = max(at for at, layer in enumerate(layers) if isinstance(layer, nn.Conv2d))

    assert isinstance(layers[last + 1], nn.ReLU | nn.ReLU6)
    # what follows leaves each unit by itself, so that a unit is a channel
    assert all(isinstance(it, nn.MaxPool2d) for it in layers[last + 2 :])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_unit_that_is_cut_is_silent(name: str) -> None:
    network = made(name)
    network.cut((0, 3))

    active = features(network, images_for(network, 3), device=CPU)

    assert active.shape[1] == network.last_convolution.out_channels
    assert active[:, (0, 3)].abs().max() == 0
    assert active.max() > 0


@pytest.mark.parametrize(
    ("make", "shape", "parameters"),
    [
        # weights and biases by hand, layer by layer
        (
            signs_cnn,
            (64, 6, 6),
            (32 * 75 + 32) + (64 * 800 + 64) + (96 * 576 + 96) + (96 * 864 + 96)
            + (64 * 864 + 64) + (256 * 2304 + 256) + (4 * 256 + 4),
        ),
        (
            pets_cnn,
            (128, 4, 4),
            (24 * 75 + 24) + (48 * 216 + 48) + (96 * 432 + 96) + (128 * 864 + 128)
            + (128 * 1152 + 128) + (256 * 2048 + 256) + (4 * 256 + 4),
        ),
        # 4,652,008 for a thousand classes as published, with the 2,560 numbers of the
        # head's batch norm, which became 1,280 biases here
        (efficientnet_lite0, (1280, 4, 4), 4_652_008 - 1280 - 996 * 1281),
        # patches and places; four blocks of two norms, qkv, projection and MLP
        (
            tiny_vit,
            (64,),
            (64 * 192 + 64) + 36 * 64
            + 4 * (4 * 64 + (192 * 64 + 192) + (64 * 64 + 64)
                   + (128 * 64 + 128) + (64 * 128 + 64))
            + 2 * 64 + (4 * 64 + 4),
        ),
    ],
)  # fmt: skip
def test_it_has_the_parameters_that_its_table_implies(
    make: Callable[[int], SplitNetwork], shape: tuple[int, ...], parameters: int
) -> None:
    network = make(4)

    assert sum(p.numel() for p in network.parameters()) == parameters
    assert features(network, images_for(network, 1), device=CPU).shape[1:] == shape


@pytest.mark.parametrize(
    ("kernel", "sums"),
    [
        # of ones in an 8 x 8 picture: "same" pads 0 before and 1 after, or 1 and 2
        (3, [[9, 9, 9, 6], [9, 9, 9, 6], [9, 9, 9, 6], [6, 6, 6, 4]]),
        (5, [[16, 20, 20, 12], [20, 25, 25, 15], [20, 25, 25, 15], [12, 15, 15, 9]]),
    ],
)
def test_a_halving_convolution_pads_as_the_published_weights_expect(
    kernel: int, sums: list[list[int]]
) -> None:
    layers = _convolution(1, 1, kernel=kernel, stride=2)[:2]
    convolution = layers[1]
    assert isinstance(convolution, nn.Conv2d)
    nn.init.ones_(convolution.weight)

    with torch.no_grad():
        assert layers(torch.ones(1, 1, 8, 8))[0, 0].tolist() == sums


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 48, 48), (3, 128, 128), (3, 32, 32)]
)
def test_images_of_another_shape_are_refused_with_both_shapes(
    name: str, shape: tuple[int, int, int]
) -> None:
    network = made(name)
    images = torch.zeros(2, *shape, dtype=torch.uint8)
    if shape == network.image_shape:
        assert predict(network, images, device=CPU).shape == (2,)
        return
    told = f"reads images of {' x '.join(map(str, network.image_shape))}.*"
    told += " x ".join(map(str, shape))
    with pytest.raises(InvalidSpecError, match=told):
        predict(network, images, device=CPU)
    with pytest.raises(InvalidSpecError, match=told):
        features(network, images, device=CPU)


@pytest.mark.parametrize("name", LARGER)
def test_training_twice_gives_the_same_weights_bit_for_bit(
    name: str, runtime: Runtime
) -> None:
    def trained() -> bytes:
        network = made(name)
        images = images_for(network, 16)
        fit(
            network,
            images,
            torch.arange(16) % 4,
            schedule=Schedule(epochs=1, batch_size=8, peak_learning_rate=0.01),
            generator=torch.Generator().manual_seed(0),
            runtime=runtime,
        )
        return to_bytes(network)

    assert trained() == trained()


@pytest.mark.parametrize("name", LARGER)
def test_an_epoch_is_repeated_bit_for_bit_from_its_checkpoint(
    name: str, runtime: Runtime
) -> None:
    network, states = made(name), dict[int, bytes]()
    images, labels = images_for(network, 16), torch.arange(16) % 4
    schedule = Schedule(
        epochs=2,
        batch_size=8,
        peak_learning_rate=0.01,
        optimizer="adamw" if name == "tiny-vit" else "sgd",
    )

    def keep(learner: SplitNetwork) -> Runtime:
        return replace(
            runtime,
            on_state=lambda number, momenta: states.__setitem__(
                number, state_to_bytes(learner, learner, momenta)
            ),
        )

    seeded = torch.Generator().manual_seed
    fit(
        network,
        images,
        labels,
        schedule=schedule,
        generator=seeded(0),
        runtime=keep(network),
    )
    honest, state = states.pop(2), state_from_bytes(states[1], network=name)
    momenta = state.momenta_of(state.network, schedule)
    replay(
        state.network,
        images,
        labels,
        segment=Segment(schedule=schedule, number=2, momenta=momenta),
        generator=seeded(0),
        runtime=keep(state.network),
    )

    assert states[2] == honest


@pytest.mark.skipif(not DATASETS["gtsrb-signs"].is_at_hand(), reason="needs GTSRB")
@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("signs-cnn", Schedule(epochs=2, peak_learning_rate=0.05)),
        pytest.param(
            "tiny-vit",
            Schedule(
                epochs=8,
                peak_learning_rate=2e-3,
                weight_decay=0.05,
                optimizer="adamw",
            ),
            marks=pytest.mark.soak,
        ),
    ],
)
def test_signs_are_learnt_within_a_few_epochs(
    name: str, schedule: Schedule, runtime: Runtime
) -> None:
    train = DATASETS["gtsrb-signs"].load("train")
    seen, held_out = train.without_last(300), train.last(300)
    seen = seen.select(torch.arange(0, len(seen), 2))
    network = made(name, classes=3)
    fit(
        network,
        seen.images,
        seen.labels,
        schedule=schedule,
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )

    found = accuracy(predict(network, held_out.images, device=CPU), held_out.labels)

    assert found.rate > 0.9
    assert time.monotonic() < runtime.deadline
