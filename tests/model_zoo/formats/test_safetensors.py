"""Safetensors as the reference reads them; what it should refuse is in tests/abuse."""

import io
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from model_zoo.errors import LocalError
from model_zoo.formats.safetensors import (
    ITEM_BYTES,
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
    assert ITEM_BYTES[entry.dtype] == dtype.itemsize


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
