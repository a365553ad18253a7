"""Files that call themselves safetensors."""

import io
import pickle  # noqa: TID251  made here to be refused, never loaded
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import UnsafeFormatError
from model_zoo.formats.check import check_format
from model_zoo.formats.safetensors import MAX_HEADER_BYTES, check_header, state_dict
from tests.model_zoo.releases import safetensors, weights


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", "payload")
    return buffer.getvalue()


def torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, buffer)
    return buffer.getvalue()


def tensors(**offsets: list[int]) -> object:
    """Return a header of one-byte-item tensors at these offsets."""
    return {
        name: {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        for name, (begin, end) in offsets.items()
    }


def one(**changes: object) -> object:
    """Return a header of one tensor of four bytes, changed."""
    return {"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4], **changes}}


def laid(header: object, data_bytes: int, told: str, *, id: str) -> ParameterSet:  # noqa: A002  as in pytest.param
    """Return a case: this header over so many bytes of tensors."""
    return pytest.param(safetensors(header, bytes(data_bytes)), told, id=id)


REFUSED = [
    pytest.param(archive(), "zip archive", id="zip"),
    pytest.param(torch_file(), "zip archive", id="torch.save"),
    pytest.param(pickle.dumps({"w": [0.0]}), "pickle", id="pickle"),
    pytest.param(pickle.dumps([0], protocol=0), "header of", id="pickle protocol 0"),
    pytest.param(b"\x1f\x8b" + bytes(30), "gzip", id="gzip"),
    pytest.param(b"", "header of", id="empty"),
    pytest.param(b"\x10\0\0", "header of", id="shorter than its length field"),
    pytest.param(struct.pack("<Q", 2**60) + b"{}", "header of", id="2^60 byte header"),
    pytest.param(struct.pack("<Q", 2**64 - 1) + b"{}", "header of", id="2^64 - 1"),
    pytest.param(struct.pack("<Q", 3) + b"{}", "header of", id="header past the end"),
    pytest.param(struct.pack("<Q", 2) + b"[]", "JSON object", id="header is a list"),
    pytest.param(struct.pack("<Q", 2) + b"\xff{", "not safetensors", id="not UTF-8"),
    pytest.param(struct.pack("<Q", 1) + b"1", "header of", id="header of one byte"),
    pytest.param(safetensors({}, b"hidden"), "data bytes", id="hidden tail"),
    pytest.param(
        safetensors(tensors(a=[0, 4], b=[2, 6]), bytes(6)), "overlap", id="overlap"
    ),
    pytest.param(
        safetensors(tensors(a=[0, 4], b=[0, 4]), bytes(4)), "overlap", id="alias"
    ),
    laid(tensors(a=[0, 2], b=[4, 6]), 6, "hole", id="hole"),
    pytest.param(
        safetensors(tensors(a=[2, 6]), bytes(6)), "hole", id="hole at the start"
    ),
    pytest.param(
        safetensors(tensors(a=[0, 8]), bytes(4)), "data bytes", id="past the end"
    ),
    pytest.param(
        safetensors(one(data_offsets=[-4, 0]), bytes(4)), "out of range", id="negative"
    ),
    laid(one(data_offsets=[4, 0]), 4, "fit", id="reversed"),
    pytest.param(
        safetensors(one(data_offsets=[0, 2**63]), bytes(4)), "range", id="2^63"
    ),
    pytest.param(
        safetensors(one(data_offsets=[0, 1e300]), bytes(4)), "range", id="float"
    ),
    pytest.param(
        safetensors(one(data_offsets=[False, 4]), bytes(4)), "range", id="bool"
    ),
    pytest.param(
        safetensors(one(shape=[2**40, 2**40]), bytes(4)), "fit", id="huge shape"
    ),
    laid(one(shape=[-4]), 4, "shape", id="negative shape"),
    laid(one(shape=[1] * 17 + [4]), 4, "shape", id="rank"),
    laid(one(dtype="object"), 4, "dtype", id="dtype"),
    pytest.param(
        safetensors(one(code="os.system"), bytes(4)), "no more", id="extra field"
    ),
    pytest.param(safetensors({"w": 1}), "expected dtype", id="tensor is a number"),
    pytest.param(
        safetensors({"__metadata__": {"a": 1}}), "text to text", id="metadata"
    ),
    pytest.param(
        struct.pack("<Q", 15) + b'{"a":1 , "a":1}', "twice", id="a name twice"
    ),
    pytest.param(
        struct.pack("<Q", 60_000) + b"[" * 60_000, "not safetensors", id="deep nesting"
    ),
]


@pytest.mark.parametrize(("data", "told"), REFUSED)
def test_it_is_refused_from_its_header_and_from_its_bytes(
    data: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(UnsafeFormatError, match=told):
        check_header(path)
    with pytest.raises(UnsafeFormatError, match=told):
        state_dict(data)


def test_the_limit_on_headers_holds_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(MAX_HEADER_BYTES * 4)
    with pytest.raises(UnsafeFormatError, match="header of"):
        check_header(path)


@given(
    st.binary(max_size=64) | st.binary(max_size=64).map(lambda b: safetensors({}, b))
)
def test_any_bytes_are_tensors_or_a_told_refusal(data: bytes) -> None:
    try:
        state_dict(data)
    except UnsafeFormatError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["w", "dtype", "shape", "data_offsets", "__metadata__"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(header=json_values, data=st.binary(max_size=16))
def test_any_header_is_tensors_or_a_told_refusal(header: object, data: bytes) -> None:
    try:
        state_dict(safetensors(header, data))
    except UnsafeFormatError:
        return


@given(position=st.integers(0, len(weights()) - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_is_other_tensors_or_a_told_refusal(
    position: int, bit: int
) -> None:
    flipped = bytearray(weights())
    flipped[position] ^= 1 << bit
    try:
        state_dict(bytes(flipped))
    except UnsafeFormatError:
        return


def test_other_formats_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(weights())
    with pytest.raises(UnsafeFormatError, match=r"model\.pt"):
        check_format(path, name=path.name)
