"""Lists of models from anyone: JSON, CSV, or a folder of readmes with front matter.

Nothing in a list is believed, run or fetched here. Front matter is read line by line,
by a reader that knows ``key: value`` and no more: YAML's loaders can run code.

ADR 36.
"""

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from model_zoo.canonical import parse_object
from model_zoo.errors import InvalidSpecError, LocalError, MalformedDocumentError
from model_zoo.files import read_plain, translate_os_errors

MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_README_BYTES = 256 * 1024
MAX_ENTRIES = 10_000
MAX_FRONT_MATTER_LINES = 1000
MAX_TEXT_CHARACTERS = 2000
MAX_NAME_BYTES = 255
"""Of a longer name, file systems say that it is an error."""

README = "readme.md"
FENCE = "---"
DIGEST_SIZES = {"sha512": 128, "sha256": 64, "sha1": 40, "md5": 32}
"""Hexadecimal digits of each digest that lists give, the strongest first."""

_CAFFE_KEYS = frozenset({"caffemodel", "caffemodel_url"})
_CAFFE_LOADER = "caffe's download_model_binary.py, which reads this readme by yaml.load"
_KEYS = {
    "name": ("name",),
    "url": ("url", "caffemodel_url"),
    "file": ("file", "caffemodel"),
    "loader": ("loader",),
    "signature": ("signature",),
    "digest_source": ("digest_source",),
}
"""What an entry's text may be called in a list."""

_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]{0,63}):(?:[ \t]+(.*))?")
_NESTED = re.compile(r"[ \t-]|#|\Z")
_TAG = re.compile(r"(?:^|[\s\[{,:-])!")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """What a list says of one model; texts are empty where it says nothing.

    Attributes:
        where: file, and where in it.
        name: of the model.
        url: of its weights.
        digests: name of a digest -> hexadecimal digits, as written.
        loader: what is said to load it.
        signature: where a signature is said to be.
        digest_source: a URL that is said to give the digest, too.
        file: its weights, where they lie beside the list.
        has_yaml_tags: whether its front matter tells a YAML loader to build objects.
        problem: why it could not be read.
    """

    where: str
    name: str = ""
    url: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    loader: str = ""
    signature: str = ""
    digest_source: str = ""
    file: Path | None = None
    has_yaml_tags: bool = False
    problem: str = ""


def read_model_list(path: Path) -> tuple[ModelEntry, ...]:
    """Return the entries of the list at ``path``.

    A list is a ``.json`` file, an array of objects or an object with such an array
    under ``models``; a ``.csv`` file with a header; or a folder whose folders hold a
    ``readme.md`` each, as gists do. An entry that cannot be read is an entry with a
    problem.

    Raises:
        InvalidSpecError: it is no such list, empty, or over the bounds.
        LocalError: it cannot be read.
    """
    readers = {".json": _from_json, ".csv": _from_csv}
    if not path.exists():
        msg = f"cannot read {path}: there is no such file or folder"
        raise LocalError(msg)
    with translate_os_errors(f"cannot read {path}"):
        if path.is_dir():
            found = list(_from_folder(path))
        elif path.suffix.lower() in readers:
            data = _read(path, limit_bytes=MAX_LIST_BYTES)
            found = readers[path.suffix.lower()](data, path)
        else:
            msg = f"{path}: expected a .json or .csv file, or a folder of readmes"
            raise InvalidSpecError(msg)
    if not 1 <= len(found) <= MAX_ENTRIES:
        msg = f"{path}: {len(found)} models, expected 1 to {MAX_ENTRIES}"
        raise InvalidSpecError(msg)
    return tuple(found)


def front_matter(text: str) -> dict[str, str]:
    """Return the top-level ``key: value`` lines between the first two ``---`` lines.

    Nested lines and list items are left out; values stay text, without their quotes.

    Raises:
        ValueError: there is no front matter, it does not end or is too long, a line
            is something else, or a key stands twice.
    """
    found: dict[str, str] = {}
    for line in front_matter_lines(text):
        if _NESTED.match(line):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            msg = f"front matter: expected `key: value`, found {line[:60]!a}"
            raise ValueError(msg)
        key, value = match[1], _unquoted(match[2] or "")
        if key in found:
            msg = f"front matter: {key} stands twice"
            raise ValueError(msg)
        found[key] = value
    return found


def front_matter_lines(text: str) -> list[str]:
    """Return the lines between the first two ``---`` lines.

    Raises:
        ValueError: there are not two, or too many between them.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        msg = f"no front matter: the first line is not {FENCE}"
        raise ValueError(msg)
    for index, line in enumerate(lines[1 : MAX_FRONT_MATTER_LINES + 2]):
        if line.rstrip() == FENCE:
            return [line.rstrip() for line in lines[1 : 1 + index]]
    msg = f"front matter without an end, or of over {MAX_FRONT_MATTER_LINES} lines"
    raise ValueError(msg)


def _unquoted(text: str) -> str:
    text = text.strip()
    for quote in "\"'":
        if text.startswith(quote):
            return text[1:].partition(quote)[0]
    return text.partition(" #")[0].rstrip()


def _from_json(data: bytes, path: Path) -> list[ModelEntry]:
    is_array = data.lstrip().startswith(b"[")
    if is_array:
        data = b'{"models":' + data + b"}"
    try:
        fields = parse_object(data, limit_bytes=2 * MAX_LIST_BYTES)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise InvalidSpecError(msg) from error
    models = fields.get("models")
    if not isinstance(models, list) or (is_array and len(fields) > 1):
        msg = f'{path}: expected an array of models, or one under "models"'
        raise InvalidSpecError(msg)
    return [
        _entry(it, where=f"{path.name}, entry {number}", folder=path.parent)
        if isinstance(it, dict)
        else ModelEntry(
            where=f"{path.name}, entry {number}", problem="it is no object with fields"
        )
        for number, it in enumerate(models[: MAX_ENTRIES + 1], start=1)
    ]


def _from_csv(data: bytes, path: Path) -> list[ModelEntry]:
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        rows = list(islice(csv.DictReader(text, strict=True), MAX_ENTRIES + 1))
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{path}: no CSV file: {error}"
        raise InvalidSpecError(msg) from error
    return [
        _entry(row, where=f"{path.name}, row {number}", folder=path.parent)
        for number, row in enumerate(rows, start=2)
    ]


def _from_folder(path: Path) -> Iterator[ModelEntry]:
    for folder in [path, *sorted(it for it in path.iterdir() if _is_folder(it))]:
        for file in sorted(folder.iterdir()):
            if file.name.lower() == README and _is_file(file):
                yield _from_readme(file, where=str(file.relative_to(path)))


def _from_readme(file: Path, *, where: str) -> ModelEntry:
    try:
        text = read_plain(file, limit_bytes=MAX_README_BYTES).decode("utf-8")
        fields = front_matter(text)
    except (MalformedDocumentError, ValueError) as error:
        return ModelEntry(where=where, problem=str(error))
    if fields.keys() & _CAFFE_KEYS:
        fields.setdefault("loader", _CAFFE_LOADER)
    tagged = any(_TAG.search(line) for line in front_matter_lines(text))
    return _entry(fields, where=where, folder=file.parent, has_yaml_tags=tagged)


def _entry(
    fields: Mapping[Any, Any],
    *,
    where: str,
    folder: Path,
    has_yaml_tags: bool = False,
) -> ModelEntry:
    """Return the entry that ``fields`` of any list spell."""
    try:
        fields = _known(fields)
    except ValueError as error:
        problem = str(error)
        return ModelEntry(where=where, problem=problem, has_yaml_tags=has_yaml_tags)
    texts = {
        what: next((t for key in keys if (t := _text(fields.get(key)))), "")
        for what, keys in _KEYS.items()
    }
    digests = {name: _text(fields.get(name)) for name in DIGEST_SIZES}
    file = texts.pop("file")
    return ModelEntry(
        where=where,
        digests={name: text.lower() for name, text in digests.items() if text},
        file=_beside(folder, file) if file else None,
        has_yaml_tags=has_yaml_tags,
        **texts,
    )


def _known(fields: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the fields whose names are known, however they are capitalised.

    Raises:
        ValueError: there is none, or one stands twice.
    """
    names = [*(key for keys in _KEYS.values() for key in keys), *DIGEST_SIZES]
    found: dict[str, Any] = {}
    for field_name, value in fields.items():
        name = str(field_name).strip().lower()
        if name not in names:
            continue
        if name in found:
            msg = f"{name} stands twice"
            raise ValueError(msg)
        found[name] = value
    if not found:
        others = ", ".join(ascii(str(name)[:40]) for name in islice(fields, 8))
        msg = f"expected fields of {', '.join(names)}; found {others or 'none'}"
        raise ValueError(msg)
    return found


def _text(value: object) -> str:
    """Return a field's text, cut short, without what no terminal or file can hold."""
    if not isinstance(value, str):
        return ""
    text = value.strip()[:MAX_TEXT_CHARACTERS]
    return text.encode("utf-8", "replace").decode("utf-8")


def _beside(folder: Path, name: str) -> Path | None:
    """Return the file called ``name`` in ``folder``, if it is a plain file there."""
    path = folder / name
    is_name = name == path.name and "\0" not in name
    is_short = len(os.fsencode(name)) <= MAX_NAME_BYTES
    return path if is_name and is_short and _is_file(path) else None


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read(path: Path, *, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        msg = f"{path}: over {limit_bytes} bytes"
        raise InvalidSpecError(msg)
    return data
