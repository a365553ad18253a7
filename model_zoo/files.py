"""Plain files: opened without following a link, read with a bound, replaced whole.

What lies in a folder that was copied from somewhere may be a link out of it, a pipe
that never answers or a device without an end. So every file of such a folder is opened
here: the last part of its path is never followed, opening never waits, and what was
opened has to be a regular file. The folder itself may be a link: the user named it.

Source:
    open(2): O_NOFOLLOW, O_NONBLOCK; rename(2) replaces a link and does not follow it.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from model_zoo.errors import LocalError, MalformedDocumentError

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOCKING = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DRAFT = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part")
_NOT_PLAIN = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""What open(2) says of a link, of a socket, and of a folder that is to be written."""


@contextlib.contextmanager
def translate_os_errors(what: str) -> Iterator[None]:
    """Raise what this machine refuses as ours: it is not the network's failure.

    Args:
        what: was not done, as a message begins: ``cannot read FILE``.

    Raises:
        LocalError: for any OSError of the block.
    """
    try:
        yield
    except OSError as error:
        msg = f"{what}: {error.strerror or error}"
        raise LocalError(msg) from error


@contextlib.contextmanager
def locked(path: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold the lock file at ``path``, which is made if need be; see flock(2).

    The kernel lets go of it when the process ends, however it ends. ADR 36.

    Raises:
        MalformedDocumentError: a link, folder, pipe, socket or device stands there.
        BlockingIOError: another process holds it, and nobody ``waits`` for that.
        OSError: it cannot be made or locked.
    """
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def open_plain(path: Path) -> BufferedReader:
    """Return the regular file at ``path``, opened for reading.

    Raises:
        MalformedDocumentError: a link, folder, pipe, socket or device stands there.
        OSError: it is not there, or cannot be opened.
    """
    return os.fdopen(_opened(path, _READING), "rb")


def read_plain(path: Path, *, limit_bytes: int) -> bytes:
    """Return the bytes of the regular file at ``path``.

    Raises:
        MalformedDocumentError: it is no regular file, or longer than ``limit_bytes``.
        LocalError: it is not there, or cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        msg = f"{path}: over {limit_bytes} bytes, and no more are read"
        raise MalformedDocumentError(msg)
    return data


def open_lock(path: Path) -> int:
    """Return a descriptor of the regular file at ``path``, which is made if need be.

    Raises:
        MalformedDocumentError: a link, folder, pipe, socket or device stands there.
        OSError: it cannot be made or opened.
    """
    return _opened(path, _LOCKING)


def write_beside(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` in one step, and on the disk for good.

    A reader sees the old file or the new one. A link at ``path`` is replaced: what it
    points to stays as it was.

    Raises:
        LocalError: it cannot be written; what was there is untouched.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    with translate_os_errors(f"cannot write {path}"):
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def drafted_name(path: Path) -> str:
    """Return the name that a draft of ``write_beside`` was to get, else its own.

    A process that was killed may leave one behind.
    """
    found = _DRAFT.fullmatch(path.name)
    return found[1] if found else path.name


def _opened(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in _NOT_PLAIN:
            raise _not_plain(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_plain(path)
    return descriptor


def _not_plain(path: Path) -> MalformedDocumentError:
    return MalformedDocumentError(
        f"{path} is not a plain file: no link, folder, pipe or device is read here"
    )


def _sync_folder(path: Path) -> None:
    """Make the names in a folder last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
