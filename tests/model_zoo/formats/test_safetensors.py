"""Safetensors as the reference reads them; what it should refuse is in tests/abuse."""

import io
import json
import re
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.torch import load, save

from model_zoo.errors import LocalError, UnsafeFormatError
from model_zoo.formats.safetensors import (
    ITEM_BITS,
    check_header,
    read_header,
    state_dict,
)

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.uint16,
    torch.int16,
    torch.float16,
    torch.bfloat16,
    torch.uint32,
    torch.int32,
    torch.float32,
    torch.uint64,
    torch.int64,
    torch.float64,
    torch.complex64,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]

tensors = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=4)),
    max_size=4,
)


@given(tensors)
def test_what_the_reference_writes_is_read_with_the_same_shapes(
    described: dict[str, tuple[torch.dtype, list[int]]],
) -> None:
    written = {
        name: torch.zeros(shape).to(dtype) for name, (dtype, shape) in described.items()
    }
    data = save(written, metadata={"format": "pt"})
    header = read_header(io.BytesIO(data), size_bytes=len(data))
    shapes = {name: entry.shape for name, entry in header.tensors.items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in written.items()}
    assert header.metadata == {"format": "pt"}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_the_reference_has_its_size(dtype: torch.dtype) -> None:
    data = save({"t": torch.zeros(3).to(dtype)})
    [entry] = read_header(io.BytesIO(data), size_bytes=len(data)).tensors.values()
    assert entry.end - entry.begin == 3 * dtype.itemsize
    assert ITEM_BITS[entry.dtype] == 8 * dtype.itemsize


def described(dtype: str, shape: list[int], size_bytes: int) -> bytes:
    """Return a file of one tensor of zeros that is described so."""
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, size_bytes]}
    header = json.dumps({"t": entry}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + bytes(size_bytes)


def read_by_the_reference(data: bytes) -> None:
    deserialize(data)  # type: ignore[no-untyped-call]  # safetensors' own


def types_of_the_reference() -> list[str]:
    with pytest.raises(SafetensorError) as refused:
        read_by_the_reference(described("none", [1], 1))
    return re.findall("`([A-Z0-9_]+)`", str(refused.value).partition("one of")[2])


def is_read_by_the_reference(data: bytes) -> bool:
    try:
        read_by_the_reference(data)
    except SafetensorError:
        return False
    return True


def is_read(data: bytes) -> bool:
    try:
        read_header(io.BytesIO(data), size_bytes=len(data))
    except UnsafeFormatError:
        return False
    return True


@pytest.mark.parametrize("dtype", [*types_of_the_reference(), "F128", "I4", "f32", ""])
def test_a_type_is_read_as_the_installed_reference_reads_it(dtype: str) -> None:
    for shape in ([], [0], [1], [2], [3], [4], [8], [9], [3, 3], [2, 0], [2, 5, 2]):
        for size_bytes in range(8 * 20 + 2):
            data = described(dtype, shape, size_bytes)
            assert is_read(data) == is_read_by_the_reference(data), (shape, size_bytes)


def test_every_type_of_the_reference_is_one_of_ours() -> None:
    assert set(types_of_the_reference()) == set(ITEM_BITS)


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "F6_E3M2", "F8_E8M0"])
def test_a_type_of_which_there_are_no_tensors_is_told(dtype: str) -> None:
    with pytest.raises(LocalError, match=dtype):
        state_dict(described(dtype, [8], ITEM_BITS[dtype]))


def test_bytes_become_the_tensors_that_the_reference_reads() -> None:
    data = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1)})
    ours, theirs = state_dict(data), load(data)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_header_is_read_from_a_file_without_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"w": torch.zeros(8)}))
    assert check_header(path).tensors["w"].shape == (8,)


def test_a_missing_file_is_a_local_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"none\.safetensors"):
        check_header(tmp_path / "none.safetensors")
