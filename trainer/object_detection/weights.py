"""The weights of a detector: safetensors, and only into the network they fit."""

import torch
from torch import Tensor

from model_zoo.errors import MalformedDocumentError
from model_zoo.formats.safetensors import state_dict
from trainer.networks.checkpoints import MAX_CLASSES, require_fit
from trainer.object_detection.network import Detector

SCORES_BIAS = "network.roi_heads.box_predictor.cls_score.bias"
"""One number a kind of sign and one for background."""


def is_detector(data: bytes) -> bool:
    """Whether ``data`` claims to be the weights of a detector.

    Raises:
        UnsafeFormatError: it is not a well-formed safetensors file.
    """
    return SCORES_BIAS in state_dict(data)


def detector_from_bytes(data: bytes) -> Detector:
    """Return the detector with the weights in ``data``, on the CPU, ready to detect.

    The number of kinds is read off its output layer.

    Args:
        data: a safetensors file, from anyone.

    Raises:
        UnsafeFormatError: it is not a well-formed safetensors file.
        MalformedDocumentError: tensors are missing, superfluous, of another shape or
            type, or hold a NaN or an infinity.
    """
    tensors: dict[str, Tensor] = state_dict(data)
    bias = tensors.get(SCORES_BIAS)
    if bias is None or bias.ndim != 1 or not 1 < len(bias) <= MAX_CLASSES:
        msg = f"not a detector: expected {SCORES_BIAS} with one number a kind of sign"
        raise MalformedDocumentError(msg)
    with torch.random.fork_rng(devices=[]):  # its random weights are overwritten
        network = Detector(len(bias) - 1)
    require_fit(tensors, network.state_dict(), network="detector")
    network.load_state_dict(tensors)
    return network.eval()
