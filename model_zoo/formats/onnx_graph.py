"""ONNX: the graph in a file as values, read with bounds; no tensor's numbers.

What is read was accepted by ``check_graph`` before, on the same open file.

ADR 45.

Source:
    ONNX IR, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from model_zoo.errors import UnsafeFormatError
from model_zoo.files import open_plain, translate_os_errors
from model_zoo.formats.onnx import MAX_DEPTH, MAX_VARINT_BYTES, check_stream

MAX_NODES = 50_000
"""Of all graphs in a file; a language model of 70 layers has some 20,000."""
MAX_NAME_BYTES = 4096
MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Of all names and attributes in a file."""
MAX_ATTRIBUTE_BYTES = 4096
"""Longer lists of numbers, such as the nodes of decision trees, are not read."""

_VARINT, _LENGTH = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_SIGN_BIT, _WIDTH = 1 << 63, 1 << 64
_MAIN_DOMAINS = ("", "ai.onnx")

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorKind:
    """What a tensor is, without its numbers.

    Attributes:
        type: ONNX's number of the element type; 0 where the file does not say.
        shape: its sizes; None for one that the file leaves open.
    """

    type: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator at work.

    Attributes:
        operator: its name; with the domain in front where that is not ONNX's main one.
        name: as the file calls the node; may be empty.
        inputs: names of values; empty for one that is left out.
        outputs: names of values.
        attributes: name -> value. Of a tensor its kind is kept, of a long list its
            length in bytes.
        graphs: what its attributes hold: branches, or the body of a loop.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    graphs: tuple["Graph", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph, or one inside a node's attribute.

    Attributes:
        inputs: name -> kind, without those that have a value in ``tensors``.
        outputs: names of values.
        tensors: name -> kind of the values that lie in the file.
        nodes: in the file's order.
        opset: the version of ONNX's operators; 0 where the file does not say.
    """

    inputs: Mapping[str, TensorKind]
    outputs: tuple[str, ...]
    tensors: Mapping[str, TensorKind]
    nodes: tuple[Node, ...]
    opset: int = 0


def read_graph(path: Path) -> Graph:
    """Return the graph of the ONNX file at ``path``.

    Raises:
        UnsafeFormatError: ``check_graph`` refuses it, or it has more nodes or longer
            names than any model.
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        return graph_in(file, size_bytes=os.fstat(file.fileno()).st_size)


def graph_in(stream: BinaryIO, *, size_bytes: int) -> Graph:
    """Return the graph in an ONNX file of ``size_bytes``; as ``read_graph``."""
    stream.seek(0)
    check_stream(stream, size_bytes=size_bytes)
    reader = _Reader(stream)
    model = reader.message(_Span(0, size_bytes), {7, 8})
    sets = [reader.message(it, {1, 2}) for it in model.spans(8)]
    versions = [it.number(2) for it in sets if reader.text(it.span(1)) in _MAIN_DOMAINS]
    return reader.graph(model.spans(7)[0], opset=max(versions, default=0), depth=0)


class _Span(NamedTuple):
    start: int
    end: int


@dataclass(slots=True)
class _Message:
    """The wanted fields of a message: a field's number -> what stands there, in order.

    A number, the bytes of a float, or where the contents lie.
    """

    fields: dict[int, list[int | bytes | _Span]]

    def spans(self, number: int) -> list[_Span]:
        return [it for it in self.fields[number] if isinstance(it, _Span)]

    def span(self, number: int) -> _Span:
        """Return where the field lies; nowhere if it is absent."""
        return next(iter(self.spans(number)), _Span(0, 0))

    def number(self, number: int) -> int:
        """Return a number; 0 if it is absent."""
        numbers = (it for it in self.fields[number] if isinstance(it, int))
        return _signed(next(numbers, 0))


@dataclass(slots=True)
class _Reader:
    """Reads messages that were accepted; counts, for a file that is changed meanwhile.

    Every refusal is an UnsafeFormatError.
    """

    stream: BinaryIO
    nodes: int = 0
    text_bytes: int = 0

    def message(self, span: _Span, wanted: set[int]) -> _Message:
        found: dict[int, list[int | bytes | _Span]] = {it: [] for it in wanted}
        position = span.start
        while position < span.end:
            self.stream.seek(position)
            key, position = self._varint(position)
            number, wire = divmod(key, 8)
            value: int | bytes | _Span
            if wire == _VARINT:
                value, position = self._varint(position)
            elif wire == _LENGTH:
                length, position = self._varint(position)
                value = _Span(position, position + length)
                position = value.end
            else:
                value = self.stream.read(_FIXED_BYTES.get(wire, 0))
                position += len(value) or 1
            if number in found:
                found[number].append(value)
        if position > max(span.end, span.start):
            raise _refused(why="a field runs past the end of its message")
        return _Message(found)

    def _varint(self, position: int) -> tuple[int, int]:
        value = 0
        for index in range(MAX_VARINT_BYTES):
            byte = self.stream.read(1)
            if not byte:
                break
            value |= (byte[0] & 0x7F) << (7 * index)
            if byte[0] < 0x80:  # noqa: PLR2004  the bit that says: another byte follows
                return value, position + index + 1
        raise _refused(why="a number without an end")

    def bytes_at(self, span: _Span, *, limit: int) -> bytes:
        length = span.end - span.start
        self.text_bytes += length
        if length > limit or self.text_bytes > MAX_TEXT_BYTES:
            raise _refused(why=f"a name of {length} bytes, or too many of them")
        self.stream.seek(span.start)
        return self.stream.read(length)

    def text(self, span: _Span) -> str:
        try:
            return self.bytes_at(span, limit=MAX_NAME_BYTES).decode()
        except UnicodeDecodeError as error:
            raise _refused(why="a name that is not UTF-8") from error

    def texts(self, spans: list[_Span]) -> tuple[str, ...]:
        return tuple(map(self.text, spans))

    def graph(self, span: _Span, *, depth: int, opset: int = 0) -> Graph:
        if depth > MAX_DEPTH:
            raise _refused(why=f"graphs nested deeper than {MAX_DEPTH} levels")
        found = self.message(span, {1, 5, 11, 12, 15})
        self.nodes += len(found.fields[1])
        if self.nodes > MAX_NODES:
            raise _refused(why=f"more than {MAX_NODES} nodes")
        tensors = dict(self.tensor(it) for it in found.spans(5))
        for it in found.spans(15):  # a sparse one has the name of its values
            tensors |= [self.tensor(self.message(it, {1}).span(1))]
        declared = [self.value(it) for it in found.spans(11)]
        return Graph(
            inputs={name: kind for name, kind in declared if name not in tensors},
            outputs=tuple(self.value(it)[0] for it in found.spans(12)),
            tensors=tensors,
            nodes=tuple(self.node(it, depth=depth) for it in found.spans(1)),
            opset=opset,
        )

    def node(self, span: _Span, *, depth: int) -> Node:
        found = self.message(span, {1, 2, 3, 4, 5, 7})
        attributes: dict[str, Attribute] = {}
        graphs: list[Graph] = []
        for it in found.spans(5):
            inside = self.message(it, {1, 6, 11})
            subgraphs = [*inside.spans(6), *inside.spans(11)]
            graphs += [self.graph(at, depth=depth + 1) for at in subgraphs]
            attributes[self.text(inside.span(1))] = self.attribute(it)
        domain = self.text(found.span(7))
        operator = self.text(found.span(4))
        return Node(
            operator=operator if domain in _MAIN_DOMAINS else f"{domain}.{operator}",
            name=self.text(found.span(3)),
            inputs=self.texts(found.spans(1)),
            outputs=self.texts(found.spans(2)),
            attributes=attributes,
            graphs=tuple(graphs),
        )

    def attribute(self, span: _Span) -> Attribute:
        """Return the value of an attribute; of what is no number or text, its kind."""
        if span.end - span.start > MAX_ATTRIBUTE_BYTES:
            return f"{span.end - span.start} bytes"
        found = self.message(span, {2, 3, 4, 5, 6, 7, 8, 9, 11})
        for number in (4, 9):
            if texts := tuple(
                self.bytes_at(it, limit=MAX_ATTRIBUTE_BYTES).decode("latin-1")
                for it in found.spans(number)
            ):
                return texts if number == 9 else texts[0]  # noqa: PLR2004  strings
        if tensors := found.spans(5):
            _, kind = self.tensor(tensors[0])
            return f"tensor of type {kind.type}, shape {list(kind.shape)}"
        if graphs := found.spans(6) + found.spans(11):
            return f"{len(graphs)} graphs"
        return self._numbers(found)

    def _numbers(self, found: _Message) -> Attribute:
        if single := [it for it in found.fields[2] if isinstance(it, bytes)]:
            return _float(single[0])
        if found.fields[7]:
            packed = [self._packed_floats(it) for it in found.fields[7]]
            return tuple(it for part in packed for it in part)
        if found.fields[8]:
            return tuple(self.integers(found.fields[8]))
        return found.number(3)

    def _packed_floats(self, found: int | bytes | _Span) -> list[float]:
        if isinstance(found, _Span):
            found = self.bytes_at(found, limit=MAX_ATTRIBUTE_BYTES)
        data = found if isinstance(found, bytes) else b""
        return [_float(data[at : at + 4]) for at in range(0, len(data), 4)]

    def integers(self, found: list[int | bytes | _Span]) -> list[int]:
        """Return integers that are written one a field, or many in one."""
        numbers: list[int] = []
        for it in found:
            if isinstance(it, int):
                numbers.append(_signed(it))
            elif isinstance(it, _Span):
                if it.end - it.start > MAX_ATTRIBUTE_BYTES:
                    raise _refused(why="a shape of thousands of sizes")
                self.stream.seek(it.start)
                position = it.start
                while position < it.end:
                    number, position = self._varint(position)
                    numbers.append(_signed(number))
        return numbers

    def tensor(self, span: _Span) -> tuple[str, TensorKind]:
        found = self.message(span, {1, 2, 8})
        shape = self.integers(found.fields[1])
        return self.text(found.span(8)), TensorKind(found.number(2), tuple(shape))

    def value(self, span: _Span) -> tuple[str, TensorKind]:
        found = self.message(span, {1, 2})
        tensor = self.message(self.message(found.span(2), {1}).span(1), {1, 2})
        dimensions = self.message(tensor.span(2), {1}).spans(1)
        sizes = [self.message(it, {1}).fields[1] for it in dimensions]
        shape = tuple(it[0] if it and isinstance(it[0], int) else None for it in sizes)
        return self.text(found.span(1)), TensorKind(tensor.number(1), shape)


def _signed(value: int) -> int:
    value %= _WIDTH
    return value - _WIDTH if value >= _SIGN_BIT else value


def _float(data: bytes) -> float:
    try:
        return float(struct.unpack("<f", data)[0])
    except struct.error as error:
        raise _refused(why="a float that is cut off") from error


def _refused(*, why: str) -> UnsafeFormatError:
    return UnsafeFormatError(f"not ONNX that could be looked through: {why}")
