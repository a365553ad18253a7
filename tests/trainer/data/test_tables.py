"""Lists of images: any bytes are read or refused, and a refusal names the line."""

from contextlib import suppress
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import LocalError
from trainer.data import tables
from trainer.data.tables import Line, lines, read_list, table

COLUMNS = ("file", "x", "y")


def fields(*texts: str) -> Line:
    return Line(where="list, line 7", fields=texts)


def read(text: str) -> list[tuple[str, ...]]:
    rows = table(text.encode(), what="list", columns=COLUMNS)
    return [row.fields for row in rows]


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_lines_are_read_whatever_ends_them(start: str, end: str) -> None:
    text = start + end.join(["file;x;y", "a.jpg;1;2", "b.jpg;3;4"])

    assert read(text) == [("a.jpg", "1", "2"), ("b.jpg", "3", "4")]


@pytest.mark.parametrize("text", ["", "file,x,y\n", "file;y;x\n", "a.jpg;1;2\n"])
def test_another_header_is_refused_with_the_expected_one(text: str) -> None:
    with pytest.raises(LocalError, match=r"list.*expected the header file;x;y"):
        read(text)


@pytest.mark.parametrize("row", ["a.jpg;1", "a.jpg;1;2;3", "a.jpg"])
def test_more_or_fewer_fields_are_refused_with_their_line(row: str) -> None:
    with pytest.raises(LocalError, match=r"list, line 3: expected 3 fields"):
        read(f"file;x;y\nb.jpg;1;2\n{row}\n")


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "/a.jpg", "b/a.jpg", ".a.jpg", "", "a b.jpg", "a.jpg\0", "ä.jpg"],
)
def test_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(LocalError, match=r"list, line 7: expected a file's name"):
        fields(name).name(0)


@pytest.mark.parametrize("path", ["../a.png", "/a.png", "a//b.png", "a/../b.png", "a/"])
def test_a_path_that_leaves_its_folder_is_refused(path: str) -> None:
    assert fields("aiua-0/frames.avi/stop_1.png").path(0).startswith("aiua-0/")
    with pytest.raises(LocalError, match="expected a path below this folder"):
        fields(path).path(0)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", "٣", "9999999999", "nan"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    assert fields(" 042 ").whole(0) == 42
    with pytest.raises(LocalError, match="expected a whole number"):
        fields(text).whole(0)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e9", "1.", "0x1", "--1"])
def test_what_is_no_number_is_refused(text: str) -> None:
    assert fields("-12.50").number(0) == -12.5
    with pytest.raises(LocalError, match="expected a number"):
        fields(text).number(0)


def test_a_list_longer_than_any_is_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_LIST_BYTES", 10)
    (tmp_path / "list").write_bytes(bytes(11))

    with pytest.raises(LocalError, match=r"list: 11 bytes"):
        read_list(tmp_path / "list")


def test_text_in_another_encoding_is_refused() -> None:
    with pytest.raises(LocalError, match="list: expected text in UTF-8"):
        list(lines("größe".encode("latin-1"), what="list"))


@given(st.binary(max_size=200) | st.text(alphabet="file;xy\n\r1-.", max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    with suppress(LocalError):
        for row in table(raw, what="list", columns=COLUMNS, header=False):
            assert ".." not in row.path(0).split("/")
            assert "/" not in row.name(0)
            assert row.whole(1) >= 0
            assert isfinite(row.number(2))
