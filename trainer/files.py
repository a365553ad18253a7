"""Files appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from model_zoo.errors import LocalError


def read_bytes(path: Path) -> bytes:
    """Return what is in the file at ``path``.

    Raises:
        LocalError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` in one step; a reader sees the old file or the new.

    Raises:
        LocalError: the disk is full or the folder cannot be written; nothing changed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise LocalError(msg) from error
