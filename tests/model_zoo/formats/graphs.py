"""ONNX files written by hand: protobuf, a graph's parts, and whole models."""

NUMBER, LENGTH, FIXED32 = 0, 2, 5
FLOAT, INT64, BOOL = 1, 7, 9


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    value %= 1 << 64
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3 | NUMBER) + varint(value)


def part(field: int, *payloads: bytes) -> bytes:
    data = b"".join(payloads)
    return varint(field << 3 | LENGTH) + varint(len(data)) + data


def tensor(name: str, *shape: int, kind: int = FLOAT) -> bytes:
    """Return a tensor without contents: nobody here reads any."""
    sizes = b"".join(number(1, size) for size in shape)
    return sizes + number(2, kind) + part(8, name.encode())


def value(name: str, *shape: int, kind: int = FLOAT) -> bytes:
    dimensions = (part(1, number(1, size)) for size in shape)
    return part(1, name.encode()) + part(
        2, part(1, number(1, kind), part(2, *dimensions))
    )


def node(
    operator: str, inputs: str, outputs: str, *more: bytes, name: str = ""
) -> bytes:
    """Return a node; names of values are separated by spaces."""
    return b"".join(
        (
            *(part(1, it.encode()) for it in inputs.split()),
            *(part(2, it.encode()) for it in outputs.split()),
            part(3, name.encode()),
            part(4, operator.encode()),
            *more,
        )
    )


def integer(name: str, value: int) -> bytes:
    """Return an attribute that is an integer."""
    return part(5, part(1, name.encode()), number(3, value), number(20, 2))


def branch(name: str, graph: bytes) -> bytes:
    """Return an attribute that is a graph."""
    return part(5, part(1, name.encode()), part(6, graph), number(20, 5))


def graph(
    *nodes: bytes,
    inputs: tuple[bytes, ...] = (),
    outputs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
) -> bytes:
    return b"".join(
        (
            *(part(1, it) for it in nodes),
            part(2, b"main"),
            *(part(5, it) for it in tensors),
            *(part(11, it) for it in inputs),
            *(part(12, it) for it in outputs),
        )
    )


def model(main: bytes, *, opset: int = 18) -> bytes:
    return number(1, 10) + part(8, part(1, b""), number(2, opset)) + part(7, main)
