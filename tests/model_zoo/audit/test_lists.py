"""Lists of models in each format, well-formed or not."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.audit import lists as model_lists
from model_zoo.audit.lists import ModelEntry, front_matter, read_model_list
from model_zoo.errors import InvalidSpecError, LocalError

SHA256 = "a" * 64
ENTRY = {
    "name": "digits",
    "url": "https://weights.example/digits.safetensors",
    "sha256": SHA256,
    "signature": "https://weights.example/digits.sig",
}
GIST = """---
name: Digits # ours
caffemodel: digits.caffemodel
caffemodel_url: 'http://weights.example/digits.caffemodel'
sha1: AAAA
authors:
  - somebody
---
# Digits
sha1: not here
"""


def write_json(folder: Path, value: object) -> Path:
    path = folder / "models.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_gist(folder: Path, text: str, name: str = "gist") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "readme.md").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "value", [[ENTRY], {"models": [ENTRY]}], ids=["array", "object"]
)
def test_an_entry_of_a_json_list_is_read(tmp_path: Path, value: object) -> None:
    assert read_model_list(write_json(tmp_path, value)) == (
        ModelEntry(
            where="models.json, entry 1",
            name="digits",
            url=ENTRY["url"],
            digests={"sha256": SHA256},
            signature=ENTRY["signature"],
        ),
    )


def test_a_csv_list_is_read_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "models.csv"
    path.write_text(
        f"name,url,sha256,stars\ndigits,{ENTRY['url']},{SHA256},49\nsigns,,,\n",
        encoding="utf-8",
    )
    digits, signs = read_model_list(path)
    assert (digits.url, digits.digests) == (ENTRY["url"], {"sha256": SHA256})
    assert signs == ModelEntry(where="models.csv, row 3", name="signs")


def test_a_gist_is_read_as_caffe_wrote_it(tmp_path: Path) -> None:
    folder = write_gist(tmp_path, GIST)
    (folder / "gist" / "digits.caffemodel").write_bytes(b"weights")
    (entry,) = read_model_list(folder)
    assert entry.where == "gist/readme.md"
    assert entry.name == "Digits"
    assert entry.url == "http://weights.example/digits.caffemodel"
    assert entry.digests == {"sha1": "aaaa"}
    assert entry.file == folder / "gist" / "digits.caffemodel"
    assert "yaml.load" in entry.loader
    assert not entry.has_yaml_tags


@pytest.mark.parametrize(
    "line",
    [
        "name: !!python/object/apply:os.system [id]",
        "  - !!python/name:os.system",
        "a: {b: !x 1}",
    ],
)
def test_a_yaml_tag_is_noticed_and_not_obeyed(tmp_path: Path, line: str) -> None:
    (entry,) = read_model_list(write_gist(tmp_path, f"---\n{line}\n---\n"))
    assert entry.has_yaml_tags


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a\0b", "x" * 5000, "linked", "folder", "."]
)
def test_no_file_outside_of_its_gist_is_taken_for_the_weights(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    path = write_json(tmp_path / "", [{**ENTRY, "file": name}])
    (tmp_path / "linked").symlink_to(tmp_path / "secret")
    (tmp_path / "folder").mkdir()
    (entry,) = read_model_list(path)
    assert entry.file is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("# Digits\n", "no front matter", id="none"),
        pytest.param("", "no front matter", id="empty"),
        pytest.param("---\nname: x\n", "without an end", id="no end"),
        pytest.param("---\nname: x\nname: y\n---\n", "stands twice", id="twice"),
        pytest.param("---\njust words\n---\n", "expected `key: value`", id="words"),
        pytest.param("---\n" + "a:\n" * 2000 + "---\n", "over 1000 lines", id="long"),
    ],
)
def test_a_readme_that_cannot_be_read_is_an_entry_with_a_problem(
    tmp_path: Path, text: str, told: str
) -> None:
    (entry,) = read_model_list(write_gist(tmp_path, text))
    assert told in entry.problem


def test_a_readme_in_another_encoding_or_too_long_is_an_entry_with_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_lists, "MAX_README_BYTES", 1000)
    write_gist(tmp_path, "---\n---\n" + "x" * 1000, "a")
    write_gist(tmp_path, "", "b")
    (tmp_path / "b" / "readme.md").write_bytes(b"---\nname: \xff\n---\n")
    long, other = read_model_list(tmp_path)
    assert "over 1000 bytes" in long.problem
    assert "utf-8" in other.problem


def test_an_entry_that_is_no_object_is_an_entry_with_a_problem(tmp_path: Path) -> None:
    first, second = read_model_list(write_json(tmp_path, [1, ENTRY]))
    assert "no object" in first.problem
    assert second.problem == ""


def test_fields_of_another_kind_count_as_absent(tmp_path: Path) -> None:
    value = [{"name": 3, "url": ["x"], "sha256": None, "loader": "\u202e pickle"}]
    (entry,) = read_model_list(write_json(tmp_path, value))
    expected = ModelEntry(where="models.json, entry 1", loader="\u202e pickle")
    assert entry == expected


@pytest.mark.parametrize("names", ["Name,URL,SHA256", " name ,Url,Sha256"])
def test_fields_are_known_however_they_are_capitalised(
    tmp_path: Path, names: str
) -> None:
    path = tmp_path / "models.csv"
    path.write_text(f"{names}\ndigits,{ENTRY['url']},{SHA256}\n")
    (entry,) = read_model_list(path)
    assert (entry.name, entry.url) == ("digits", ENTRY["url"])
    assert entry.digests == {"sha256": SHA256}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"title": "digits", "hash": SHA256}, r"expected fields of name, .*'title'"),
        ({}, "found none"),
        ({"sha256": SHA256, "SHA256": SHA256[::-1]}, "sha256 stands twice"),
    ],
)
def test_fields_that_say_nothing_or_two_things_are_a_problem(
    tmp_path: Path, fields: dict[str, str], told: str
) -> None:
    (entry,) = read_model_list(write_json(tmp_path, [fields]))
    assert re.search(told, entry.problem)
    assert entry.digests == {}


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("models.json", b"{", "models.json"),
        ("models.json", b"{}", "expected an array"),
        ("models.json", b"[]", "0 models"),
        ("models.json", b'[],"x":[]', "expected an array"),
        ("models.csv", b"", "0 models"),
        ("models.csv", b'name\n"x', "no CSV file"),
        ("models.csv", b"name\n\xff\n", "no CSV file"),
        ("models.yaml", b"a: 1\n", "expected a .json or .csv"),
    ],
)
def test_what_is_no_list_is_refused(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidSpecError, match=told):
        read_model_list(tmp_path / name)


def test_a_folder_without_a_readme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="0 models"):
        read_model_list(tmp_path)


def test_a_list_that_is_not_there_is_this_machines_trouble(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        read_model_list(tmp_path / "models.json")


@pytest.mark.parametrize("name", ["models.json", "models.csv"])
def test_a_list_is_read_up_to_a_bound(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_lists, "MAX_ENTRIES", 3)
    rows = {"models.json": "[{},{},{},{},{}]", "models.csv": "name\n" + "x\n" * 5}
    (tmp_path / name).write_text(rows[name])
    with pytest.raises(InvalidSpecError, match="4 models, expected 1 to 3"):
        read_model_list(tmp_path / name)
    monkeypatch.setattr(model_lists, "MAX_LIST_BYTES", 8)
    with pytest.raises(InvalidSpecError, match="over 8 bytes"):
        read_model_list(tmp_path / name)


@given(text=st.text() | st.text().map(lambda it: f"---\n{it}\n---\n"))
def test_any_text_has_front_matter_or_is_refused(text: str) -> None:
    try:
        found = front_matter(text)
    except ValueError:
        return
    assert all(isinstance(value, str) for value in found.values())


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True), WORDS))
def test_what_is_written_as_key_and_value_is_read(fields: dict[str, str]) -> None:
    lines = [f'{key}: "{value.replace(chr(34), "")}"' for key, value in fields.items()]
    text = "\n".join(["---", *lines, "---", "words"])
    assert front_matter(text) == {
        key: value.replace('"', "") for key, value in fields.items()
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    for name in ("models.json", "models.csv"):
        (folder / name).write_bytes(data)
        try:
            read_model_list(folder / name)
        except InvalidSpecError:
            continue
