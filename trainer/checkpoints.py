"""Weights to bytes and back: safetensors only, and only into the network they fit."""

from collections.abc import Mapping

import torch
from safetensors.torch import save
from torch import Tensor

from model_zoo.errors import MalformedDocumentError
from model_zoo.weights import state_dict
from trainer.networks import NETWORKS, SplitNetwork

OUTPUT_BIAS = "fully_connected.fc2.bias"
"""One number a class: what tells how many classes a checkpoint knows."""
MAX_CLASSES = 1000


def to_bytes(network: SplitNetwork) -> bytes:
    """Return the weights as a safetensors file: equal weights, equal bytes."""
    return bytes(
        save(
            {
                name: tensor.detach().cpu().contiguous()
                for name, tensor in network.state_dict().items()
            }
        )
    )


def from_bytes(data: bytes, *, network: str) -> SplitNetwork:
    """Return the registered network with the weights in ``data``, on the CPU.

    The number of classes is read off the output layer.

    Args:
        data: a safetensors file, from anyone.
        network: a name in NETWORKS.

    Raises:
        UnsafeFormatError: it is not a well-formed safetensors file.
        MalformedDocumentError: tensors are missing, superfluous, of another shape or
            type, or hold a NaN or an infinity.
    """
    tensors: dict[str, Tensor] = state_dict(data)
    bias = tensors.get(OUTPUT_BIAS)
    if bias is None or bias.ndim != 1 or not 1 <= len(bias) <= MAX_CLASSES:
        msg = f"not a {network}: expected {OUTPUT_BIAS} with one number a class"
        raise MalformedDocumentError(msg)
    with torch.random.fork_rng(devices=[]):  # its random weights are overwritten
        loaded = NETWORKS[network](len(bias))
    _require_fit(tensors, loaded.state_dict(), network=network)
    loaded.load_state_dict(tensors)
    return loaded


def _require_fit(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, network: str
) -> None:
    if found.keys() != expected.keys():
        odd = ", ".join(sorted(name[:80] for name in found.keys() ^ expected.keys()))
        msg = f"not a {network}: tensors missing or superfluous: {odd}"
        raise MalformedDocumentError(msg)
    for name, tensor in expected.items():
        if _kind(found[name]) != _kind(tensor):
            msg = f"{name}: expected {_kind(tensor)}, found {_kind(found[name])}"
            raise MalformedDocumentError(msg)
        if not found[name].isfinite().all():
            msg = f"{name}: expected finite numbers, found NaN or infinity"
            raise MalformedDocumentError(msg)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
