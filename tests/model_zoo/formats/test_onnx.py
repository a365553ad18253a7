"""ONNX files, written by hand here: what is published needs nothing beside itself."""

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import LocalError, UnsafeFormatError
from model_zoo.formats import onnx as graphs
from model_zoo.formats.check import check_format
from model_zoo.formats.onnx import check_graph_bytes
from tests.model_zoo.formats.graphs import number, part

TENSOR = number(1, 2) + number(2, 1) + part(8, b"w") + part(9, bytes(8))
NODE = part(1, b"w") + part(2, b"y") + part(4, b"Relu")
GRAPH = part(1, NODE) + part(2, b"main") + part(5, TENSOR)
HEAD = number(1, 10) + part(8, part(1, b""), number(2, 18))


def model(graph: bytes = GRAPH, *, head: bytes = HEAD) -> bytes:
    """Return an ONNX file: ``graph`` under a version and the operators it uses."""
    return head + part(7, graph)


def with_node(*fields: bytes) -> bytes:
    return model(part(1, NODE, *fields))


def with_tensor(*fields: bytes) -> bytes:
    return model(part(5, TENSOR, *fields))


def nested(levels: int) -> bytes:
    """Return a graph in an attribute of a node of a graph, and so on."""
    graph = part(2, b"innermost")
    for _ in range(levels):
        graph = part(1, NODE, part(5, part(1, b"then_branch"), part(6, graph)))
    return model(graph)


def test_a_graph_with_its_weights_inside_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for data in (model(), nested(5), with_node(part(7, b"ai.onnx"))):
        path.write_bytes(data)
        check_format(path, name="model.onnx")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param(
            with_tensor(part(13, part(1, b"location"), part(2, b"../../etc/passwd"))),
            "lies in another file",
            id="external data",
        ),
        pytest.param(
            with_tensor(number(14, 1)), "says that it lies in another", id="location"
        ),
        pytest.param(
            with_node(part(5, part(1, b"value"), part(5, number(14, 1)))),
            "says that it lies in another",
            id="location, in an attribute",
        ),
        pytest.param(
            model(part(15, part(1, part(13, b"")))),
            "lies in another file",
            id="external data, sparse",
        ),
        pytest.param(
            with_node(part(7, b"ai.onnx.contrib")), "contrib", id="a library's operator"
        ),
        pytest.param(
            model(head=HEAD + part(8, part(1, b"com.example"), number(2, 1))),
            "com.example",
            id="a library's operators",
        ),
        pytest.param(model() + part(25, b""), "functions", id="functions"),
        pytest.param(model() + part(20, b""), "training code", id="training code"),
    ],
)
def test_what_leads_out_of_the_file_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(UnsafeFormatError, match=told):
        check_graph_bytes(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param(b"", "holds no graph", id="empty"),
        pytest.param(HEAD, "holds no graph", id="no graph"),
        pytest.param(part(7, GRAPH), "says no version", id="no version"),
        pytest.param(b"\x80\x04\x95", "field 64", id="a pickle"),
        pytest.param(b"PK\x03\x04" + bytes(30), "field 10", id="a zip archive"),
        pytest.param(model() + part(7, GRAPH), "7 stands twice", id="two graphs"),
        pytest.param(
            with_tensor(part(9, b"other")), "9 stands twice", id="two contents"
        ),
        pytest.param(with_node(part(99, b"")), "field 99", id="an unknown field"),
        pytest.param(with_tensor(part(14, b"")), "something else", id="another type"),
        pytest.param(model()[:-1], "past the end", id="cut off"),
        pytest.param(HEAD + b"\x3a\xff", "without an end", id="cut off in a number"),
        pytest.param(HEAD + b"\x3a" + b"\xff" * 10, "without an end", id="no end"),
        pytest.param(HEAD + b"\x3b", "something else", id="a group"),
        pytest.param(nested(20), "deeper than", id="nested"),
    ],
)
def test_what_breaks_the_format_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(UnsafeFormatError, match=told):
        check_graph_bytes(data)


def test_a_file_of_more_fields_than_any_model_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graphs, "MAX_FIELDS", 1000)
    check_graph_bytes(model(part(5, TENSOR) * 100))
    with pytest.raises(UnsafeFormatError, match="more than 1000 fields"):
        check_graph_bytes(model(part(5, TENSOR) * 300))


def test_a_file_longer_than_a_protobuf_message_is_refused_unread(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(graphs.MAX_BYTES + 1)  # a hole: takes no room on the disk
    with pytest.raises(UnsafeFormatError, match="are one message"):
        check_format(path, name="model.onnx")


def test_an_archive_in_the_tensors_is_found(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", b"cos\nsystem\n")
    tensor = number(2, 1) + part(9, archive.getvalue())
    path = tmp_path / "model.onnx"
    path.write_bytes(model(part(5, tensor)))
    with pytest.raises(UnsafeFormatError, match="hide a zip archive"):
        check_format(path, name="model.onnx")


def test_a_file_that_is_not_there_is_this_machines_trouble(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        check_format(tmp_path / "model.onnx", name="model.onnx")


@given(data=st.binary() | st.binary().map(lambda it: model() + it))
def test_any_bytes_are_accepted_or_refused(data: bytes) -> None:
    _try(data)


@given(
    position=st.integers(0, len(model()) - 1),
    change=st.sampled_from([bytes.__add__, lambda _, new: new]),
    new=st.binary(max_size=12),
)
def test_so_are_the_bytes_of_a_graph_with_some_changed(
    position: int, change: Callable[[bytes, bytes], bytes], new: bytes
) -> None:
    data = model()
    middle = change(data[position : position + 1], new)
    _try(data[:position] + middle + data[position + 1 :])


def _try(data: bytes) -> None:
    with suppress(UnsafeFormatError):
        check_graph_bytes(data)
