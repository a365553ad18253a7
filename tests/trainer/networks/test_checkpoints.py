"""Checkpoints: equal weights, equal bytes; anything that does not fit is refused."""

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from model_zoo.errors import MalformedDocumentError, UnsafeFormatError
from trainer.networks import SplitNetwork
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.checkpoints import from_bytes, to_bytes
from trainer.training.fit import seeded_globals

FC2 = "fully_connected.fc2.weight"


@pytest.fixture
def network() -> SplitNetwork:
    with seeded_globals(0):
        return badnets_cnn(5)


def changed(network: SplitNetwork, **tensors: Tensor | None) -> bytes:
    """The checkpoint with some tensors replaced, or removed where None."""
    state = network.state_dict() | {
        name.replace("__", "."): tensor for name, tensor in tensors.items()
    }
    return save({name: t for name, t in state.items() if t is not None})


def test_what_is_saved_comes_back_with_its_number_of_classes(
    network: SplitNetwork,
) -> None:
    loaded = from_bytes(to_bytes(network), network="badnets-cnn")

    assert loaded.classes == 5
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_equal_weights_give_equal_bytes_whatever_their_memory_layout(
    network: SplitNetwork,
) -> None:
    before = to_bytes(network)

    network.to(memory_format=torch.channels_last)

    assert to_bytes(network) == before


def test_loading_draws_nothing_from_the_global_generator(network: SplitNetwork) -> None:
    data, before = to_bytes(network), torch.get_rng_state()

    from_bytes(data, network="badnets-cnn")

    assert torch.equal(torch.get_rng_state(), before)


def test_another_format_is_refused_by_content() -> None:
    with pytest.raises(UnsafeFormatError, match="pickle"):
        from_bytes(b"\x80\x04\x95" + bytes(100), network="badnets-cnn")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        pytest.param({"fully_connected__fc2__bias": None}, "fc2.bias", id="no output"),
        pytest.param({"fully_connected__fc1__bias": None}, "fc1.bias", id="missing"),
        pytest.param({"spare": torch.zeros(1)}, "spare", id="superfluous"),
        pytest.param(
            {"fully_connected__fc2__weight": torch.zeros(5, 511)},
            r"expected float32 \[5, 512\], found float32 \[5, 511\]",
            id="another shape",
        ),
        pytest.param(
            {"fully_connected__fc2__weight": torch.zeros(5, 512).double()},
            "found float64",
            id="another type",
        ),
        pytest.param(
            {"fully_connected__fc2__weight": torch.full((5, 512), float("nan"))},
            f"{FC2}: expected finite",
            id="NaN",
        ),
        pytest.param(
            {"fully_connected__fc2__bias": torch.zeros(1, 5)},
            r"fc2.bias: expected float32 \[5\], found float32 \[1, 5\]",
            id="an output bias that is a matrix",
        ),
        pytest.param(
            {"fully_connected__fc2__weight": torch.zeros(())},
            "one row a class",
            id="an output of no rows",
        ),
        pytest.param(
            {"fully_connected__fc2__weight": torch.zeros(1001, 1)},
            "one row a class",
            id="more classes than there may be",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_was_found(
    network: SplitNetwork, tensors: dict[str, Tensor | None], message: str
) -> None:
    with pytest.raises(MalformedDocumentError, match=message):
        from_bytes(changed(network, **tensors), network="badnets-cnn")
