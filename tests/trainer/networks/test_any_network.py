"""A network of any two modules: found by name, its units cut, its layers known."""

import time

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.statements.jobs import Schedule
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.activations import ablated, amplified, layers, mean_activations
from trainer.networks.checkpoints import from_bytes, to_bytes
from trainer.training.fit import Runtime, fit, seeded_globals
from trainer.training.transfer import features, student_of

CPU = torch.device("cpu")
NAME = "acme:small"


class Sum(nn.Module):
    """Two branches of one image, with a batch norm behind the second convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.first(images)
        more: Tensor = self.relu(self.norm(self.second(found)))
        return found + more


def small(classes: int) -> SplitNetwork:
    head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, classes, bias=False))
    return SplitNetwork(Sum(), head, image_shape=(1, 6, 6))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> SplitNetwork:
    monkeypatch.setitem(NETWORKS, NAME, small)
    with seeded_globals(3):
        made = small(5)
    made.convolutions.get_submodule("norm").get_parameter("bias").data.fill_(0.3)
    return made.eval()


def images(n: int = 8) -> Tensor:
    draws = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 1, 6, 6), generator=draws, dtype=torch.uint8)


def test_its_weights_come_back_whatever_the_output_layer_is_called(
    network: SplitNetwork,
) -> None:
    loaded = from_bytes(to_bytes(network), network=NAME)

    assert loaded.output_name == "fully_connected.1"
    assert loaded.classes == 5
    assert to_bytes(loaded) == to_bytes(network)
    with pytest.raises(MalformedDocumentError, match=r"fully_connected\.1\.weight"):
        from_bytes(to_bytes(NETWORKS["badnets-cnn"](5)), network=NAME)


def test_a_head_without_an_output_layer_is_no_network() -> None:
    for head in (nn.Flatten(), nn.Sequential(nn.Conv2d(4, 2, 1))):
        with pytest.raises(ValueError, match="expected a Linear"):
            SplitNetwork(nn.Linear(3, 3), head, image_shape=(1, 6, 6))


def test_images_of_another_shape_are_refused_by_the_body_alone_too(
    network: SplitNetwork,
) -> None:
    with pytest.raises(InvalidSpecError, match="1 x 6 x 6"):
        features(network, torch.zeros(1, 1, 7, 7, dtype=torch.uint8), device=CPU)


def test_a_student_gets_the_body_and_a_head_of_its_own(network: SplitNetwork) -> None:
    student = student_of(network, small(3))

    assert student.classes == 3
    for name, tensor in network.convolutions.state_dict().items():
        assert torch.equal(student.convolutions.state_dict()[name], tensor)


def test_units_behind_a_sum_are_cut_in_the_head_and_stay_cut_while_it_learns(
    network: SplitNetwork,
) -> None:
    body = to_bytes(network.convolutions)
    inputs = features(network, images(), device=CPU)
    without = inputs.clone()
    without[:, (1, 3)] = 0
    expected = network.fully_connected(without)

    network.cut((1, 3))

    assert to_bytes(network.convolutions) == body
    torch.testing.assert_close(network.fully_connected(inputs), expected)
    runtime = Runtime(
        device=CPU,
        precision="fp32",
        deadline=time.monotonic() + 300,
        on_epoch=lambda _: None,
    )
    before = network.get_parameter("fully_connected.1.weight").detach().clone()
    fit(
        network,
        images(),
        torch.arange(8) % 5,
        schedule=Schedule(epochs=2, batch_size=4, peak_learning_rate=0.1),
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )
    weight = network.get_parameter("fully_connected.1.weight").view(5, 4, 36)
    assert (weight[:, (1, 3)] == 0).all()
    assert (weight[:, (0, 2)] != before.view(5, 4, 36)[:, (0, 2)]).any()


def test_layers_go_by_their_names_in_the_half_they_are_in(
    network: SplitNetwork,
) -> None:
    assert list(layers(network)) == ["first.0", "second", "1"]
    assert list(layers(NETWORKS["badnets-cnn"](3))) == ["conv1", "conv2", "fc1", "fc2"]


def test_activations_are_those_of_the_relu_behind_the_layer_and_its_norm(
    network: SplitNetwork,
) -> None:
    shown = images().float() / 255
    body = network.convolutions
    assert isinstance(body, Sum)
    with torch.no_grad():
        first = body.first(shown)
        second = body.relu(body.norm(body.second(first)))

    found = mean_activations(network, images(), device=CPU)

    assert list(found) == ["first.0", "second"]
    torch.testing.assert_close(found["first.0"], first.mean((0, 2, 3)).double())
    torch.testing.assert_close(found["second"], second.mean((0, 2, 3)).double())
    assert not [it for it in network.modules() if it._forward_hooks]


def test_a_unit_is_silenced_and_made_louder_behind_its_batch_norm(
    network: SplitNetwork,
) -> None:
    before = mean_activations(network, images(), device=CPU)["second"]

    cut = mean_activations(ablated(network, "second", [2]), images(), device=CPU)
    louder = amplified(network, "second", [2], factor=3)
    loud = mean_activations(louder, images(), device=CPU)

    assert before[2] > 0
    assert cut["second"][2] == 0
    torch.testing.assert_close(loud["second"][2], 3 * before[2])
    torch.testing.assert_close(loud["second"][:2], before[:2])
