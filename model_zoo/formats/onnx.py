"""ONNX: a bounded walk over a file that refuses whatever reaches beyond it.

An ONNX file is one protobuf message. Nothing of it is kept here and no tensor is read.
The walk knows which fields may stand in which message and refuses all others, so that
no reader finds a model in it that another one skips. What leads out of the file is
refused by name: tensors in other files, operators whose code lies in a library.

What a graph computes, and what that costs, is not judged.

ADR 23.

Source:
    ONNX IR, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto;
    protobuf encoding, https://protobuf.dev/programming-guides/encoding/.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from model_zoo.errors import UnsafeFormatError
from model_zoo.files import open_plain, translate_os_errors

MAX_BYTES = 2**31 - 1
"""No protobuf message is longer; a longer model would need other files."""
MAX_FIELDS = 1_000_000
MAX_DEPTH = 32
MAX_VARINT_BYTES = 10

DOMAINS = (b"", b"ai.onnx", b"ai.onnx.ml")
"""Whose operators every runtime brings along; the code of others is loaded."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_VERSION_TAG = b"\x08"
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class _Field:
    """How a field may be written, how often, and what is looked at in it."""

    wires: frozenset[int]
    repeats: bool = False
    message: str = ""
    is_domain: bool = False
    is_zero: bool = False


_NUMBER = _Field(frozenset({_VARINT}))
_FLOAT = _Field(frozenset({_FIXED32}))
_TEXT = _Field(frozenset({_LENGTH}))
_TEXTS = _Field(frozenset({_LENGTH}), repeats=True)
_NUMBERS = _Field(frozenset({_VARINT, _LENGTH}), repeats=True)
_FLOATS = _Field(frozenset({_FIXED32, _LENGTH}), repeats=True)
_DOUBLES = _Field(frozenset({_FIXED64, _LENGTH}), repeats=True)
_DOMAIN = _Field(frozenset({_LENGTH}), is_domain=True)
_HERE = _Field(frozenset({_VARINT}), is_zero=True)


def _one(message: str) -> _Field:
    return _Field(frozenset({_LENGTH}), message=message)


def _many(message: str) -> _Field:
    return _Field(frozenset({_LENGTH}), repeats=True, message=message)


def _each(field: _Field, *numbers: int) -> dict[int, _Field]:
    return dict.fromkeys(numbers, field)


_PROPERTIES = _many("property")
_FIELDS: dict[str, dict[int, _Field]] = {
    "model": _each(_NUMBER, 1, 5)
    | _each(_TEXT, 2, 3, 4, 6)
    | {7: _one("graph"), 8: _many("operator set"), 14: _PROPERTIES},
    "operator set": {1: _DOMAIN, 2: _NUMBER},
    "property": _each(_TEXT, 1, 2),
    "graph": _each(_TEXT, 2, 10)
    | _each(_many("value"), 11, 12, 13)
    | {1: _many("node"), 5: _many("tensor"), 14: _many("annotation")}
    | {15: _many("sparse tensor"), 16: _PROPERTIES},
    "node": _each(_TEXTS, 1, 2)
    | _each(_TEXT, 3, 4, 6, 8)
    | {5: _many("attribute"), 7: _DOMAIN, 9: _PROPERTIES},
    "attribute": _each(_TEXT, 1, 4, 13, 21)
    | _each(_NUMBER, 3, 20)
    | {2: _FLOAT, 7: _FLOATS, 8: _NUMBERS, 9: _TEXTS}
    | {5: _one("tensor"), 6: _one("graph"), 14: _one("type")}
    | {10: _many("tensor"), 11: _many("graph"), 15: _many("type")}
    | {22: _one("sparse tensor"), 23: _many("sparse tensor")},
    "tensor": _each(_NUMBERS, 1, 5, 7, 11)
    | _each(_TEXT, 8, 9, 12)
    | {2: _NUMBER, 4: _FLOATS, 6: _TEXTS, 10: _DOUBLES, 14: _HERE, 16: _PROPERTIES},
    "sparse tensor": {1: _one("tensor"), 2: _one("tensor"), 3: _NUMBERS},
    "annotation": {1: _TEXT, 2: _PROPERTIES},
    "value": {1: _TEXT, 2: _one("type"), 3: _TEXT, 4: _PROPERTIES},
    "type": _each(_one("tensor type"), 1, 8)
    | _each(_one("elements"), 4, 9)
    | {5: _one("map"), 6: _TEXT},
    "tensor type": {1: _NUMBER, 2: _one("shape")},
    "elements": {1: _one("type")},
    "map": {1: _NUMBER, 2: _one("type")},
    "shape": {1: _many("dimension")},
    "dimension": {1: _NUMBER, 2: _TEXT, 3: _TEXT},
}
"""What may stand where, by field number, in the words of onnx.proto."""

_REFUSED = {
    ("model", 20): "it holds training code",
    ("model", 25): "it holds functions of its own; inline them",
    ("tensor", 13): "a tensor lies in another file (external_data); put it inside",
}
_ELSEWHERE = "a tensor says that it lies in another file; put it inside"


def check_graph(path: Path) -> None:
    """Accept the ONNX file at ``path`` if it holds all that it needs, and no more.

    Raises:
        UnsafeFormatError: it is another format, breaks a rule of this one, or needs
            another file or a library of operators.
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        check_stream(file, size_bytes=os.fstat(file.fileno()).st_size)


def check_graph_bytes(data: bytes) -> None:
    """Accept the bytes of an ONNX file; as ``check_graph``."""
    check_stream(io.BytesIO(data), size_bytes=len(data))


def check_stream(stream: BinaryIO, *, size_bytes: int) -> None:
    """Accept an ONNX file of ``size_bytes`` that starts here; as ``check_graph``."""
    if size_bytes > MAX_BYTES:
        msg = f"not ONNX: {size_bytes} bytes, and at most {MAX_BYTES} are one message"
        raise UnsafeFormatError(msg)
    seen = _Walk(stream).message("model", end=size_bytes, depth=0)
    if not {1, 7} <= seen:  # ir_version and graph
        msg = "not ONNX: it says no version, or holds no graph"
        raise UnsafeFormatError(msg)
    stream.seek(0)
    if stream.read(1) != _VERSION_TAG:
        # every writer keeps the order; other fields spell instructions of a pickle
        msg = "not ONNX that could be published: it does not begin with its version"
        raise UnsafeFormatError(msg)


@dataclass(slots=True)
class _Walk:
    """Where the walk stands, and how many fields it has passed."""

    stream: BinaryIO
    position: int = 0
    fields: int = 0

    def message(self, kind: str, *, end: int, depth: int) -> set[int]:
        """Walk to ``end`` through a message; return which fields stand in it."""
        if depth > MAX_DEPTH:
            raise _malformed(kind, f"nested deeper than {MAX_DEPTH} levels")
        seen: set[int] = set()
        while self.position < end:
            number, wire = divmod(self._varint(kind, end), 8)
            field = _field(kind, number, wire)
            if number in seen and not field.repeats:
                raise _malformed(kind, f"field {number} stands twice")
            seen.add(number)
            self._count(kind)
            self._value(kind, field, wire=wire, end=end, depth=depth)
        return seen

    def _count(self, kind: str) -> None:
        self.fields += 1
        if self.fields > MAX_FIELDS:
            raise _malformed(kind, f"more than {MAX_FIELDS} fields")

    def _value(
        self, kind: str, field: _Field, *, wire: int, end: int, depth: int
    ) -> None:
        if wire == _VARINT:
            if self._varint(kind, end) and field.is_zero:
                raise _malformed(kind, _ELSEWHERE)
            return
        length = _FIXED_BYTES.get(wire) or self._varint(kind, end)
        if length > end - self.position:
            raise _malformed(kind, "a field runs past the end of its message")
        if field.message:
            self.message(field.message, end=self.position + length, depth=depth + 1)
        elif field.is_domain:
            self._domain(kind, length)
        else:
            self.stream.seek(length, os.SEEK_CUR)
            self.position += length

    def _domain(self, kind: str, length: int) -> None:
        found = self.stream.read(min(length, 80))
        if length > len(found) or found not in DOMAINS:
            raise _malformed(kind, f"operators of {found!a}, which a library brings")
        self.position += length

    def _varint(self, kind: str, end: int) -> int:
        value = 0
        for index in range(min(MAX_VARINT_BYTES, end - self.position)):
            byte = self.stream.read(1)
            if not byte:
                break
            self.position += 1
            value |= (byte[0] & 0x7F) << (7 * index)
            if byte[0] < 0x80:  # noqa: PLR2004  the bit that says: another byte follows
                return value
        raise _malformed(kind, "a number without an end")


def _field(kind: str, number: int, wire: int) -> _Field:
    field = _FIELDS[kind].get(number)
    if field is None:
        why = _REFUSED.get((kind, number), f"field {number} is not known")
        raise _malformed(kind, why)
    if wire not in field.wires:
        raise _malformed(kind, f"field {number} is written as something else")
    return field


def _malformed(kind: str, why: str) -> UnsafeFormatError:
    return UnsafeFormatError(f"not ONNX that could be published: {kind}: {why}")
