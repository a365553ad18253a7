"""Files appear whole or not at all."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_zoo.files import translate_os_errors


def read_bytes(path: Path) -> bytes:
    """Return what is in the file at ``path``.

    Raises:
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"):
        return path.read_bytes()


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` in one step; a reader sees the old file or the new.

    Raises:
        LocalError: the disk is full or the folder cannot be written; nothing changed.
    """
    with translate_os_errors(f"cannot write {path}"):
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


def require_place(folder: Path) -> None:
    """Make sure that files can be put into ``folder``, before hours are spent on one.

    Raises:
        LocalError: it cannot be made, or nothing can be written there.
    """
    with translate_os_errors(f"cannot write into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock of a folder, or of a file that is made for it.

    Whoever comes second waits; a process that dies lets go of it.

    Raises:
        LocalError: it cannot be opened.
    """
    with translate_os_errors(f"cannot use {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        handle = os.open(path, flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
