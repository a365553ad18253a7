"""Weights of detectors, from friends and from strangers."""

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from model_zoo.errors import MalformedDocumentError, UnsafeFormatError
from trainer.networks.checkpoints import to_bytes
from trainer.object_detection.network import Detector
from trainer.object_detection.weights import SCORES_BIAS, detector_from_bytes


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        return dict(load(to_bytes(Detector(2))))


def test_weights_come_back_as_they_were(tensors: dict[str, Tensor]) -> None:
    network = detector_from_bytes(save(tensors))
    assert network.kinds == 2
    assert not network.training
    found = load(to_bytes(network))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], it) for name, it in tensors.items())


def test_what_is_no_safetensors_file_is_refused() -> None:
    with pytest.raises(UnsafeFormatError):
        detector_from_bytes(b"\x80\x04K\x01.")


def test_another_network_is_refused() -> None:
    with pytest.raises(MalformedDocumentError, match="not a detector"):
        detector_from_bytes(save({"fully_connected.fc2.bias": torch.zeros(10)}))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"odd": torch.zeros(1)}, id="superfluous"),
        pytest.param({SCORES_BIAS: torch.zeros(4)}, id="another number of kinds"),
        pytest.param({SCORES_BIAS: torch.full((3,), torch.nan)}, id="NaN"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tensors: dict[str, Tensor], changed: dict[str, Tensor]
) -> None:
    with pytest.raises(MalformedDocumentError):
        detector_from_bytes(save({**tensors, **changed}))
