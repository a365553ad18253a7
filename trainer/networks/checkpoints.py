"""Weights to bytes and back: safetensors only, and only into the network they fit.

One pickled file is read in all of this project, pinned to the last byte: the pretrained
weights that ``trainer.networks.pretrained`` turns into safetensors.
"""

import functools
import io
from collections.abc import Mapping
from pickle import UnpicklingError  # noqa: TID251  what torch refuses with

import torch
from safetensors.torch import save
from torch import Tensor, nn

from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    MalformedDocumentError,
)
from model_zoo.formats.safetensors import state_dict
from trainer.networks import NETWORKS, SplitNetwork

MAX_CLASSES = 1000


def to_bytes(network: nn.Module) -> bytes:
    """Return the weights as a safetensors file: equal weights, equal bytes.

    Raises:
        InvalidSpecError: one holds a NaN or an infinity. Nobody could load the file,
            and the last step of a training can make them after a finite loss.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            msg = f"training diverged: {name} is not finite; lower the learning rate"
            raise InvalidSpecError(msg)
    return bytes(save(tensors))


def from_bytes(data: bytes, *, network: str) -> SplitNetwork:
    """Return the registered network with the weights in ``data``, on the CPU.

    The number of classes is read off the output layer's weights, a row a class.

    Args:
        data: a safetensors file, from anyone.
        network: a name in NETWORKS.

    Raises:
        UnsafeFormatError: it is not a well-formed safetensors file.
        MalformedDocumentError: tensors are missing, superfluous, of another shape or
            type, or hold a NaN or an infinity.
    """
    tensors: dict[str, Tensor] = state_dict(data)
    name = _output_weight(network)
    output = tensors.get(name)
    if output is None or output.ndim < 1 or not 1 <= len(output) <= MAX_CLASSES:
        msg = f"not a {network}: expected {name} with one row a class"
        raise MalformedDocumentError(msg)
    loaded = _made(network, classes=len(output))
    require_fit(tensors, loaded.state_dict(), network=network)
    loaded.load_state_dict(tensors)
    return loaded


@functools.cache
def _output_weight(network: str) -> str:
    """Return the name of the tensor that has one row a class."""
    return f"{_made(network, classes=1).output_name}.weight"


def _made(network: str, *, classes: int) -> SplitNetwork:
    """Return a registered network whose random weights will be overwritten."""
    with torch.random.fork_rng(devices=[]):
        return NETWORKS[network](classes)


def from_pinned_pickle(data: bytes, *, what: str, pin: str) -> dict[str, Tensor]:
    """Return the tensors in a file of ``torch.save``, if it is the pinned one.

    The pin is checked before the first byte is interpreted, and torch is told to
    build nothing but tensors. For files of this project's own choice; nobody else's.

    Args:
        data: the file.
        what: how it is called in messages.
        pin: its SHA-256.

    Raises:
        DigestMismatchError: it is another file.
        MalformedDocumentError: it does not hold named tensors alone.
    """
    digest = sha256_bytes(data)
    if digest != pin:
        raise DigestMismatchError.of(what, expected=pin, found=digest)
    stream = io.BytesIO(data)
    try:
        found = torch.load(stream, map_location="cpu", weights_only=True)  # noqa: TID251  the one pickled file, its every byte pinned
    except UnpicklingError as error:
        msg = f"{what}: expected named tensors alone: {error}"
        raise MalformedDocumentError(msg) from error
    if not isinstance(found, dict) or not all(
        isinstance(it, Tensor) for it in found.values()
    ):
        msg = f"{what}: expected named tensors alone"
        raise MalformedDocumentError(msg)
    return dict(found)


def require_fit(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, network: str
) -> None:
    """Make sure that tensors are those of a network: names, shapes, types, numbers.

    Raises:
        MalformedDocumentError: they are not, or one is not finite.
    """
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
