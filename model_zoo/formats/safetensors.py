"""Safetensors: a bounded parser of our own, and the one door from bytes to tensors.

A safetensors file is an 8-byte little-endian length, a JSON header of that length,
and the tensors' bytes. The parser here needs no numpy, reads nothing but the header,
and refuses every file in which two readers could see two different models:
overlaps, holes, offsets out of range, a name that stands twice, a header that a
reader of another format would take for its own.

Source:
    The safetensors format description, https://github.com/huggingface/safetensors.
"""

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from model_zoo.canonical import parse_object
from model_zoo.errors import LocalError, UnsafeFormatError
from model_zoo.extras import install_line
from model_zoo.files import open_plain
from model_zoo.formats.polyglots import runs_as_pickle

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""About 100,000 tensors; the reference reader stops at 100 MB."""
MAX_RANK = 16
MAX_DIMENSION = 1 << 48
MAX_ITEMS = 1 << 48
"""Of one tensor, counting a dimension of 0 as 1: past that strides overflow."""
LENGTH_BYTES = 8
BYTE_BITS = 8
ALIGNMENT_BYTES = 8
_FIRST_PRINTABLE = 0x20
MIN_HEADER_BYTES = len("{}")

ITEM_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}
"""Every type of safetensors 0.8; a tensor of one that is no whole byte fills bytes."""

_MAGIC = {
    b"PK\x03\x04": "a zip archive (torch.save writes these, with a pickle inside)",
    b"PK\x05\x06": "an empty zip archive",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an HDF5 file",
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: its type, shape, and where its bytes lie after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says it holds, checked against its own size."""

    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]


def check_header(path: Path) -> Header:
    """Return the header of the safetensors file at ``path``, reading no tensor.

    Raises:
        UnsafeFormatError: it is another format or breaks a rule of this one.
        LocalError: it cannot be read.
    """
    try:
        with open_plain(path) as file:
            return read_header(file, size_bytes=os.fstat(file.fileno()).st_size)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error


def read_header(stream: BinaryIO, *, size_bytes: int) -> Header:
    """Return the header of a safetensors file of ``size_bytes`` that starts here.

    Raises:
        UnsafeFormatError: it is another format or breaks a rule of this one.
    """
    head = stream.read(LENGTH_BYTES)
    _refuse_other_formats(head)
    length = int.from_bytes(head, "little")
    limit = min(MAX_HEADER_BYTES, size_bytes - LENGTH_BYTES)
    if len(head) < LENGTH_BYTES or not MIN_HEADER_BYTES <= length <= limit:
        msg = f"not safetensors: a header of {length} bytes in a file of {size_bytes}"
        raise UnsafeFormatError(msg)
    try:
        header = stream.read(length)
        fields = parse_object(header, limit_bytes=MAX_HEADER_BYTES)
        _require_canonical(header)
    except ValueError as error:
        msg = f"not safetensors: header: {error}"
        raise UnsafeFormatError(msg) from error
    if runs_as_pickle(stream, size_bytes=size_bytes):
        msg = "expected safetensors, found a file that is a pickle as well"
        raise UnsafeFormatError(msg)
    metadata = _metadata(fields.pop("__metadata__", {}))
    tensors = {name: _entry(name, value) for name, value in fields.items()}
    _require_gapless(tensors, data_bytes=size_bytes - LENGTH_BYTES - length)
    return Header(tensors, metadata)


def state_dict(data: bytes) -> dict[str, Any]:
    """Return the tensors in ``data``, which is what was hashed and nothing else.

    This is the only place where bytes become tensors. ``safetensors`` and ``torch``
    belong to the trainer extra and are imported here so that verifying needs neither.

    Raises:
        UnsafeFormatError: not a well-formed safetensors file.
        LocalError: the extra is not installed, or has no tensors of such a type.
    """
    read_header(io.BytesIO(data), size_bytes=len(data))
    try:
        from safetensors import SafetensorError  # noqa: PLC0415  optional extra
        from safetensors.torch import load  # noqa: PLC0415  optional extra
    except ImportError as error:
        msg = (
            "loading weights needs torch (verifying and pulling do not); "
            f"{install_line('trainer')}"
        )
        raise LocalError(msg) from error
    try:
        return dict(load(data))
    except SafetensorError as error:
        msg = f"not safetensors: {error}"
        raise UnsafeFormatError(msg) from error
    except KeyError as error:  # the format's types are more than torch's
        msg = f"the installed safetensors makes no torch tensors of type {error}"
        raise LocalError(msg) from error


def _refuse_other_formats(head: bytes) -> None:
    for magic, format_name in _MAGIC.items():
        if head.startswith(magic):
            msg = f"expected safetensors, found {format_name}"
            raise UnsafeFormatError(msg)


def _require_canonical(header: bytes) -> None:
    """Accept a header as safetensors has left it since 0.3.1.

    Tensors start at a multiple of ALIGNMENT_BYTES, which spaces make room for; before
    the first brace stands nothing, and nowhere a control character.

    Raises:
        ValueError: it is another.
    """
    if len(header) % ALIGNMENT_BYTES:
        msg = f"not padded to a multiple of {ALIGNMENT_BYTES} bytes: save it again"
        raise ValueError(msg)
    if not (header.startswith(b"{") and header.rstrip(b" ").endswith(b"}")):
        msg = "expected a JSON object that begins at once and ends in spaces at most"
        raise ValueError(msg)
    if min(header) < _FIRST_PRINTABLE:
        msg = "a control character"
        raise ValueError(msg)


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
        isinstance(item, str) for item in value.values()
    ):
        msg = "not safetensors: __metadata__ maps text to text"
        raise UnsafeFormatError(msg)
    return value


def _entry(name: str, value: object) -> TensorEntry:
    match value:
        case {
            "dtype": str(dtype),
            "shape": list(shape),
            "data_offsets": [begin, end],
            **others,
        } if not others:
            pass
        case _:
            raise _malformed(name, "expected dtype, shape, data_offsets and no more")
    if dtype not in ITEM_BITS:
        raise _malformed(name, f"unknown dtype {dtype[:20]!a}")
    if len(shape) > MAX_RANK or not all(_is_size(size) for size in shape):
        raise _malformed(name, "a shape out of range")
    if not (_is_size(begin) and _is_size(end)):
        raise _malformed(name, "data_offsets out of range")
    if (end - begin) * BYTE_BITS != math.prod(shape) * ITEM_BITS[dtype]:
        raise _malformed(name, "data_offsets do not fit dtype and shape")
    if math.prod(max(1, size) for size in shape) > MAX_ITEMS:
        raise _malformed(name, "a shape whose strides no reader can count")
    return TensorEntry(dtype, tuple(shape), begin, end)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_DIMENSION


def _require_gapless(tensors: dict[str, TensorEntry], *, data_bytes: int) -> None:
    position = 0
    spans = sorted((entry.begin, entry.end, name) for name, entry in tensors.items())
    for begin, end, name in spans:
        if begin != position:
            raise _malformed(name, "its bytes overlap another's or leave a hole")
        position = end
    if position != data_bytes:
        msg = f"not safetensors: {data_bytes} data bytes, its tensors take {position}"
        raise UnsafeFormatError(msg)


def _malformed(name: str, why: str) -> UnsafeFormatError:
    return UnsafeFormatError(f"not safetensors: tensor {name[:80]!a}: {why}")
