"""Lists of images as data sets ship them: text in lines, fields apart by one mark.

Everything here works on bytes in memory, and on any bytes returns or raises LocalError.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from model_zoo.errors import LocalError
from trainer.files import read_bytes

MAX_LIST_BYTES = 64 * 1024 * 1024
"""The longest known list, of 50,000 images, has 3 MB."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)
_PATH = re.compile(rf"({_NAME.pattern}/){{0,7}}{_NAME.pattern}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a list, and where it stands: a field that is wrong says so.

    Attributes:
        where: the file and the line's number.
        fields: as they stand between the marks.
    """

    where: str
    fields: tuple[str, ...]

    def name(self, at: int) -> str:
        """Return a file's name: no folder and nothing hidden."""
        return self._matched(at, _NAME, "a file's name")

    def path(self, at: int) -> str:
        """Return a path below the list's folder: names, joined by slashes."""
        return self._matched(at, _PATH, "a path below this folder")

    def whole(self, at: int) -> int:
        """Return a whole number of at most nine digits."""
        return int(self._matched(at, _WHOLE, "a whole number"))

    def number(self, at: int) -> float:
        """Return a number in decimal digits, with a sign or not."""
        return float(self._matched(at, _NUMBER, "a number"))

    def refuse(self, why: str) -> NoReturn:
        """Raise a LocalError that names this line."""
        msg = f"{self.where}: {why}"
        raise LocalError(msg)

    def _matched(self, at: int, pattern: re.Pattern[str], wanted: str) -> str:
        text = self.fields[at].strip()
        if pattern.fullmatch(text) is None:
            self.refuse(f"expected {wanted}, found {text[:40]!a}")
        return text


def read_list(path: Path) -> bytes:
    """Return a list's bytes.

    Raises:
        LocalError: it cannot be read, or is longer than MAX_LIST_BYTES.
    """
    data = read_bytes(path)
    if len(data) > MAX_LIST_BYTES:
        msg = f"{path}: {len(data)} bytes, a list has at most {MAX_LIST_BYTES}"
        raise LocalError(msg)
    return data


def lines(data: bytes, *, what: str) -> Iterator[tuple[str, str]]:
    """Yield where each line stands, and the line; empty ones are left out.

    Args:
        data: UTF-8, perhaps after a byte order mark.
        what: how the file is called in messages.

    Raises:
        LocalError: it is not UTF-8.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{what}: expected text in UTF-8: {error}"
        raise LocalError(msg) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{what}, line {number}", line.strip()


def table(
    data: bytes, *, what: str, columns: Sequence[str], header: bool = True
) -> Iterator[Line]:
    """Yield the lines of a table whose fields stand between semicolons.

    Args:
        data: the whole table.
        what: how the file is called in messages.
        columns: their names, as many as every line has fields.
        header: whether the first line must be those names.

    Raises:
        LocalError: not UTF-8, another header, or a line with more or fewer fields.
    """
    found = lines(data, what=what)
    if header:
        where, first = next(found, (what, ""))
        if [name.strip() for name in first.split(";")] != list(columns):
            wanted = ";".join(columns)
            msg = f"{where}: expected the header {wanted}, found {first[:80]!a}"
            raise LocalError(msg)
    for where, line in found:
        fields = tuple(line.split(";"))
        if len(fields) != len(columns):
            msg = f"{where}: expected {len(columns)} fields, found {len(fields)}"
            raise LocalError(msg)
        yield Line(where=where, fields=fields)
