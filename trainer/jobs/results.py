"""What a child made, taken out of its reach before anything is done with it.

The child owned its scratch folder, so whatever lies there may be a link, a pipe, a
device or endless, and say anything. Each file is opened as a plain file, read once and
hashed on the way into a folder that no child can write; that copy is measured, signed
and uploaded.
"""

import hashlib
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel, ValidationError

from model_zoo.canonical import parse_object
from model_zoo.errors import LocalError, ZooError
from model_zoo.files import open_plain, read_plain
from model_zoo.names import check_name
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.folder import RESERVED_NAMES, entries
from model_zoo.statements.jobs import MAX_SPEC_BYTES
from model_zoo.statements.manifest import FileEntry, Manifest
from model_zoo.text import OneLine
from trainer.jobs import attempt
from trainer.jobs.supervisor import AttemptError, require_room

CHUNK_BYTES = 1 << 20
MAX_RESULT_BYTES = 16 << 30
"""Of all files together; a sparse file costs a child nothing, and its copy does."""
READABLE_BY_ALL = 0o644

Text = Annotated[OneLine, Field(max_length=1000)]
Number = Annotated[int, Field(gt=-(2**53), lt=2**53)]
"""As canonical JSON can spell it."""


class _Facts(RootModel[dict[Text, Text | Number]]):
    """Name -> version or number, as provenance lists what decided the bits."""


def take(folder: Path, to: Path, *, tick: Callable[[], None]) -> Manifest:
    """Copy what a child that is no more left as its results, and return the digests.

    Args:
        folder: the child's scratch folder.
        to: a folder that is made here.
        tick: called after each part.

    Raises:
        AttemptError: it left no results, or something that is no plain file, or more
            than MAX_RESULT_BYTES, or than there is room for.
        LocalError: the copy cannot be written.
    """
    results = folder / attempt.RESULTS
    files: list[FileEntry] = []
    left_bytes = MAX_RESULT_BYTES
    try:
        if not stat.S_ISDIR(results.lstat().st_mode):
            msg = f"{attempt.RESULTS} is no folder"
            raise AttemptError(msg, retry=False)
        found = entries(results)
        if sum(status.st_size for status in found.values()) > MAX_RESULT_BYTES:
            raise _too_many_bytes()
        to.mkdir(mode=0o755)
        for name in sorted(found):
            check_name(name, what="file")
            if name in RESERVED_NAMES:
                msg = f"{name} is kept for the signatures of a release"
                raise AttemptError(msg, retry=False)
            entry = _copy(results / name, to / name, most=left_bytes, tick=tick)
            left_bytes -= entry.size_bytes
            files.append(entry)
        return Manifest(files=tuple(files))
    except OSError as error:
        msg = f"cannot take the results: {error}"
        raise LocalError(msg) from error
    except LocalError:
        raise
    except (ValueError, ZooError) as error:
        msg = f"left results that cannot be taken: {error}"
        raise AttemptError(msg, retry=False) from error


def _copy(
    source: Path, target: Path, *, most: int, tick: Callable[[], None]
) -> FileEntry:
    digest, size_bytes = hashlib.sha256(), 0
    with open_plain(source) as file, target.open("xb") as copy:
        target.chmod(READABLE_BY_ALL)
        while chunk := file.read(CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > most:
                raise _too_many_bytes()
            digest.update(chunk)
            copy.write(chunk)
            tick()
            require_room(target.parent)
    return FileEntry(name=target.name, size_bytes=size_bytes, sha256=digest.hexdigest())


def _too_many_bytes() -> AttemptError:
    msg = f"left more than {MAX_RESULT_BYTES} bytes of results"
    return AttemptError(msg, retry=False)


def read_facts(folder: Path) -> dict[str, str | int]:
    """Return what a child found out about its surroundings.

    Raises:
        AttemptError: it is not there, or is something else.
    """
    data = _read(folder / attempt.FACTS)
    try:
        facts = parse_object(data, limit_bytes=MAX_SPEC_BYTES)
        return _Facts.model_validate(facts, strict=True).root
    except (ValidationError, ValueError) as error:
        msg = f"left a {attempt.FACTS} that is none: {error}"
        raise AttemptError(msg, retry=False) from error


def read_report(path: Path) -> EvaluationReport | None:
    """Return the evaluation at ``path``, None where there is none.

    Raises:
        AttemptError: it is something else.
    """
    if not path.is_symlink() and not path.exists():
        return None
    try:
        return EvaluationReport.from_bytes(_read(path), limit_bytes=MAX_SPEC_BYTES)
    except ValueError as error:
        msg = f"left a {path.name} that is none: {error}"
        raise AttemptError(msg, retry=False) from error


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, limit_bytes=MAX_SPEC_BYTES)
    except ZooError as error:
        raise AttemptError(str(error), retry=False) from error


def remove(folder: Path) -> None:
    """Remove a folder that a child owned, however deep and whatever its modes are.

    ``shutil.rmtree`` calls itself for each level, and a child can make a thousand.

    Raises:
        LocalError: something is left.
    """
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        if not folder.exists():
            return
        subprocess.run(  # noqa: S603  the system's own tools, no shell
            [*command, "--", str(folder)], capture_output=True, check=False
        )
    if folder.exists():
        msg = f"cannot remove {folder}"
        raise LocalError(msg)
