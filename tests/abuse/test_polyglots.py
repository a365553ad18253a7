"""Files that are what they say they are, and something that runs code as well."""

import io
import json
import pickle  # noqa: TID251  shows that the attack would work; loads its own bytes
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load as load_numpy
from safetensors.torch import load, save

from model_zoo.errors import UnsafeFormatError
from model_zoo.formats.check import check_format
from model_zoo.formats.polyglots import runs_as_pickle
from model_zoo.formats.safetensors import check_header
from tests.model_zoo.formats.graphs import number, part
from tests.model_zoo.formats.test_onnx import HEAD, model
from tests.model_zoo.releases import safetensors


def archive(*, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", "payload")
        file.comment = comment
    return buffer.getvalue()


def zip64() -> bytes:
    """Return an archive whose end record says: look at the one before."""
    data = archive()
    end = data.rindex(b"PK\x05\x06")
    directory = data.index(b"PK\x01\x02")
    size = end - directory
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, directory
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0
    )
    return data[:end] + record + locator + last


def as_tensor(data: bytes, name: str = "w") -> bytes:
    """Return well-formed safetensors whose one tensor is ``data``."""
    entry = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    return safetensors({name: entry}, data)


def onnx(data: bytes) -> bytes:
    """Return a well-formed ONNX file whose last field is ``data``."""
    return model() + part(6, data)


WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "model.safetensors": as_tensor,
    "model.onnx": onnx,
}
ZIPS = [
    pytest.param(archive(), id="at the end"),
    pytest.param(archive() + b"\0", id="a byte behind it"),
    pytest.param(archive() + bytes(60_000), id="much behind it"),
    pytest.param(archive() + bytes(65_900), id="as much as unzip looks back"),
    pytest.param(archive(comment=b"a comment"), id="a comment"),
    pytest.param(archive(comment=b"a comment") + b"\0\0", id="a comment and more"),
    pytest.param(archive(comment=b"x" * 65_535), id="the longest comment"),
    pytest.param(archive() + b"PK\x05\x06", id="half a record behind it"),
    pytest.param(archive() + b"PK\x05\x06" + b"\xff" * 30, id="a false record behind"),
    pytest.param(zip64(), id="zip64"),
    pytest.param(zip64() + b"\0", id="zip64 and a byte"),
    pytest.param(b"PK\x05\x06" + bytes(18), id="an empty one"),
]


@pytest.mark.parametrize("hidden", ZIPS)
@pytest.mark.parametrize("name", WRAPPED)
def test_a_file_that_readers_of_zip_open_is_refused(
    name: str, hidden: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(WRAPPED[name](hidden))
    is_only_for_others = hidden.endswith((b"PK\x05\x06", bytes(65_900)))
    assert zipfile.is_zipfile(path) or is_only_for_others
    with pytest.raises(UnsafeFormatError, match="hide a zip archive"):
        check_format(path, name=name)


def pickled(name: str) -> bytes:
    """Return well-formed safetensors that is a pickle, too: its length says push text.

    The first byte, X, takes the next four for a length and that many bytes for text.
    Behind it lies the tensor's name, whose V takes all up to a line's end, which lies
    in the tensor.
    """
    payload = b"\ncbuiltins\nlen\n."
    entry = {"dtype": "U8", "shape": [len(payload)], "data_offsets": [0, len(payload)]}
    wanted = ord("X") + 256 * 5
    for spare in range(wanted):
        data = safetensors({name + "." * spare: entry}, payload)
        if data[:8] == wanted.to_bytes(8, "little"):
            return data
    raise AssertionError(name)


def test_a_file_that_is_a_pickle_as_well_is_refused(tmp_path: Path) -> None:
    data = pickled("V")
    assert pickle.loads(data) is len  # noqa: S301  our own bytes, to show the attack
    assert len(load(data)) == 1
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(UnsafeFormatError, match="a pickle as well"):
        check_header(tmp_path / "model.safetensors")


MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)[2:]
"""What ``torch.load`` wants to find in the first of its pickles."""
RUNS = b"cbuiltins\nlen\n."


def of_length(head: bytes, payload: bytes) -> bytes:
    """Return well-formed safetensors that begins with ``head``, its header's length."""
    entry = {"dtype": "U8", "shape": [len(payload)], "data_offsets": [0, len(payload)]}
    header = json.dumps({"w": entry}).encode()
    header = header.ljust(int.from_bytes(head, "little"))
    return struct.pack("<Q", len(header)) + header + payload


@pytest.mark.parametrize(
    ("head", "payload"),
    [
        pytest.param(b"(I", b"\n" + RUNS, id="no number, and a NUL"),
        pytest.param(b"(I1", b"\n" + RUNS, id="a number that ends with a NUL"),
        pytest.param(b"(F1", b"\n" + RUNS, id="a fraction that ends with a NUL"),
        pytest.param(b"(L1", b"\n" + RUNS, id="a long number that ends with a NUL"),
        pytest.param(b"\x88p1", b"\n" + RUNS, id="a place that ends with a NUL"),
        pytest.param(b'(S"', b'"\n' + RUNS, id="quoted text of two megabytes"),
        pytest.param(b"(V", b"\nF" + b"0" * 70_000 + b"1\n" + RUNS, id="many digits"),
        pytest.param(b"(V", b"\n" + MAGIC + RUNS, id="the second of two"),
    ],
)
def test_what_cpython_takes_for_a_pickle_is_refused(
    head: bytes, payload: bytes, tmp_path: Path
) -> None:
    data = of_length(head, payload)
    assert load_numpy(data).keys() == {"w"}
    stream = io.BytesIO(data)
    found = pickle.load(stream)  # noqa: S301  our own bytes, to show the attack
    assert len in {found, found if found is len else pickle.load(stream)}  # noqa: S301
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(UnsafeFormatError, match="a pickle as well"):
        check_header(tmp_path / "model.safetensors")


@pytest.mark.parametrize("head", [b"(\x82\x01", b"(\x83\x01", b"(\x93", b"(\x93\x01"])
def test_a_length_that_would_import_nothing_is_no_pickle(
    head: bytes, tmp_path: Path
) -> None:
    """One large header in 350 has such a length by chance, and runs nothing."""
    data = of_length(head, bytes(8))
    with pytest.raises((pickle.UnpicklingError, ValueError, IndexError)):
        pickle.loads(data)  # noqa: S301  our own bytes, to show that nothing runs
    (tmp_path / "model.safetensors").write_bytes(data)
    check_format(tmp_path / "model.safetensors", name="model.safetensors")


def test_a_header_of_the_same_length_with_an_innocent_name_is_not(
    tmp_path: Path,
) -> None:
    for name in ("conv1.weight", "decoder", "features", "Sequential", "0.bias"):
        (tmp_path / "model.safetensors").write_bytes(pickled(name))
        check_format(tmp_path / "model.safetensors", name="model.safetensors")


def test_an_onnx_file_that_is_a_pickle_as_well_is_refused(tmp_path: Path) -> None:
    """Fields in another order spell MARK, V and a line, then whatever follows."""
    payload = b"\ncbuiltins\nlen\n."
    data = number(5, ord("V")) + part(6, payload) + HEAD + model()[len(HEAD) :]
    assert pickle.loads(data) is len  # noqa: S301  our own bytes, to show the attack
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(UnsafeFormatError, match="begin with its version"):
        check_format(tmp_path / "model.onnx", name="model.onnx")


def tarred() -> bytes:
    """Return well-formed safetensors whose header is the first of a tar archive."""
    before, behind = '{"' + " " * 138, " " * 330
    entry = '":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    header = before + " " * 8 + behind + entry
    header += " " * (-len(header) % 8)
    head = struct.pack("<Q", len(header))
    total = sum((head + header.encode())[:512])
    header = f"{before}{total:06o}  {header[len(before) + 8 :]}"
    return head + header.encode() + bytes(4)


def test_a_file_that_is_a_tar_archive_as_well_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(tarred())
    assert len(load(tarred())) == 1
    assert tarfile.is_tarfile(path)
    with pytest.raises(UnsafeFormatError, match="tar archive"):
        check_format(path, name=path.name)


@pytest.mark.parametrize("place", [512, 1024, 2048, 1 << 16])
def test_a_file_that_holds_an_hdf5_file_is_refused(place: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = len(as_tensor(bytes(place))) - place
    path.write_bytes(
        as_tensor(bytes(place - header) + b"\x89HDF\r\n\x1a\n" + bytes(64))
    )
    assert path.read_bytes().index(b"\x89HDF") == place
    with pytest.raises(UnsafeFormatError, match="HDF5"):
        check_format(path, name=path.name)


ENTRY = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param(b" " + ENTRY + b"  ", "begins at once", id="a space before it"),
        pytest.param(ENTRY + b"\n  ", "ends in spaces", id="a line's end behind it"),
        pytest.param(ENTRY[:-1] + b" \n }", "control", id="a line's end in it"),
        pytest.param(ENTRY + b"\t\t\t", "ends in spaces", id="tabs behind it"),
        pytest.param(ENTRY, "padded", id="not padded"),
    ],
)
def test_a_header_that_no_writer_makes_is_refused(
    header: bytes, told: str, tmp_path: Path
) -> None:
    data = struct.pack("<Q", len(header)) + header + bytes(4)
    assert load(data).keys() == {"w"}
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(UnsafeFormatError, match=told):
        check_header(tmp_path / "model.safetensors")


@pytest.mark.parametrize("shape", [[0, 2**48, 2**48], [2**48, 0, 2], [0, 2**30, 2**30]])
def test_a_shape_whose_strides_overflow_is_refused(
    shape: list[int], tmp_path: Path
) -> None:
    header = {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    (tmp_path / "model.safetensors").write_bytes(safetensors(header))
    with pytest.raises(UnsafeFormatError, match="strides"):
        check_header(tmp_path / "model.safetensors")


def opened_by_others(path: Path) -> list[str]:
    """Return which readers of archives find something in a file."""
    found = []
    try:
        with zipfile.ZipFile(path):
            found.append("zip")
    except (zipfile.BadZipFile, ValueError, OSError):
        pass
    if tarfile.is_tarfile(path):
        found.append("tar")
    return found


pieces = st.sampled_from(
    [archive(), zip64(), b"PK\x05\x06", b"PK\x01\x02", bytes(18), b"\x89HDF", b"\0"]
) | st.binary(max_size=40)


@given(tail=st.lists(pieces, max_size=4).map(b"".join), name=st.text(max_size=600))
def test_what_is_accepted_loads_alike_everywhere_and_is_no_archive(
    tail: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        data = save(
            {name: torch.frombuffer(bytearray(tail + b"\0"), dtype=torch.uint8)}
        )
    except (ValueError, UnicodeEncodeError):
        return
    path = tmp_path_factory.getbasetemp() / "model.safetensors"
    path.write_bytes(data)
    try:
        check_format(path, name=path.name)
    except UnsafeFormatError:
        return
    assert opened_by_others(path) == []
    header = check_header(path)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(header.tensors)
    read = load_numpy(data)[name]
    assert np.array_equal(read, np.frombuffer(tail + b"\0", dtype=np.uint8))


@given(st.binary(max_size=64), st.integers(0, 64))
def test_the_pickle_machine_stops_on_any_bytes(data: bytes, spare: int) -> None:
    data = b"(" * spare + data
    assert runs_as_pickle(io.BytesIO(data), size_bytes=len(data)) in {True, False}


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_that_imports_is_found(protocol: int) -> None:
    data = pickle.dumps([1, "x", 2.5, len, Path], protocol=protocol)
    assert runs_as_pickle(io.BytesIO(data), size_bytes=len(data))


def test_a_walk_over_silent_instructions_ends() -> None:
    data = b"(" * 100_000
    assert runs_as_pickle(io.BytesIO(data), size_bytes=len(data))


@pytest.mark.parametrize("behind", [b".", b"cbuiltins\nlen\n."])
def test_a_line_is_walked_to_its_end_however_long(behind: bytes) -> None:
    data = b"(V" + b"x" * 100_000 + b"\n" + behind
    found = runs_as_pickle(io.BytesIO(data), size_bytes=len(data))
    assert found == (behind != b".")


def test_json_has_no_room_for_an_end_record(tmp_path: Path) -> None:
    data = json.dumps({"a": "PK"}).encode().replace(b"PK", archive())
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(UnsafeFormatError, match="JSON"):
        check_format(tmp_path / "config.json", name="config.json")


def test_a_json_file_that_is_a_tar_archive_as_well_is_refused(tmp_path: Path) -> None:
    """A header of spaces and octal digits, inside one string of JSON."""
    header = bytearray(b'{"a":"'.ljust(512))
    for start, field in ((100, b"0000644 "), (124, b"00000000000 "), (148, b" " * 8)):
        header[start : start + len(field)] = field
    header[148:156] = b"%07o " % sum(header)
    path = tmp_path / "config.json"
    path.write_bytes(bytes(header) + b'"}')
    assert json.loads(path.read_bytes())
    assert tarfile.is_tarfile(path)

    with pytest.raises(UnsafeFormatError, match="tar archive"):
        check_format(path, name="config.json")
