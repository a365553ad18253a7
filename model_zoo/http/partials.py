"""Partial files: what a download left behind, found again by the next one.

A partial is named after the digest of the file that it will be, so that any process
can go on where another was killed. A lock on it says that one is at work; a second
process does not wait but takes the next slot, and so never hangs behind a stuck one.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import itertools
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_zoo.errors import LocalError, UntrustedServerError, VerificationError
from model_zoo.files import translate_os_errors

PARTIAL_SUFFIX = ".part"
_PLAIN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Follows no link and waits for no pipe; ``_is_ours`` looks at what was opened."""


@dataclass(slots=True)
class Partial:
    """The first bytes of a file: on the disk, and in a digest that goes on.

    Attributes:
        path: where it lies; locked by this process.
        file: opened for reading and writing, positioned at its end.
        digest: of all its bytes.
        length_bytes: how many.
        recalled_bytes: how many of them an earlier download left.
    """

    path: Path
    file: io.FileIO
    digest: "hashlib._Hash"
    length_bytes: int
    recalled_bytes: int
    _is_moved: bool = False

    def restart(self) -> None:
        """Forget every byte.

        Raises:
            LocalError: the file cannot be written.
        """
        with translate_os_errors(f"cannot write {self.path}"):
            self.file.seek(0)
            self.file.truncate()
        self.digest = hashlib.sha256()
        self.length_bytes = self.recalled_bytes = 0

    def move(self, to: Path) -> None:
        """Make it ``to``, all at once and on the disk for good.

        Raises:
            LocalError: ``to`` cannot be written.
        """
        with translate_os_errors(f"cannot write {to}"):
            os.fsync(self.file.fileno())
            try:
                self.path.replace(to)
                self._is_moved = True
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy_whole(self.path, to)

    def close(self, *, is_kept: bool) -> None:
        """Let go of it, and delete it unless ``is_kept`` and worth going on with."""
        if not self._is_moved and not (is_kept and self.length_bytes):
            self.path.unlink(missing_ok=True)
        self.file.close()


@contextlib.contextmanager
def open_partial(folder: Path, *, sha256: str) -> Iterator[Partial]:
    """Yield what there is of a file; the block moves it when it is whole.

    After a block that did not, it is deleted if it cannot be believed or written
    (other bytes than the digest names, a full disk) and kept for the next download
    after anything else. What no process works on any more goes when the file is whole.

    Args:
        folder: where partials lie, one user's.
        sha256: of the whole file.

    Raises:
        LocalError: it cannot be read or written.
    """
    partial = _open(folder, sha256=sha256)
    is_kept = False
    try:
        yield partial
        _sweep(folder, sha256=sha256)
    except (VerificationError, LocalError) as error:
        # the bytes are not to blame for whom this connection led to
        is_kept = isinstance(error, UntrustedServerError)
        raise
    except BaseException:
        is_kept = True
        raise
    finally:
        partial.close(is_kept=is_kept)


def _open(folder: Path, *, sha256: str) -> Partial:
    path, file = _first_free(folder, sha256=sha256)
    try:
        with translate_os_errors(f"cannot write {path}"):
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256") if length else hashlib.sha256()
    except LocalError:
        file.close()
        raise
    return Partial(path, file, digest, length, length)


def _first_free(folder: Path, *, sha256: str) -> tuple[Path, io.FileIO]:
    """Return the first partial that no other process has locked, locked by this one."""
    slots = (
        folder / f".{sha256}.{number}{PARTIAL_SUFFIX}" for number in itertools.count()
    )
    found = ((path, _locked(path, os.O_CREAT)) for path in slots)
    with translate_os_errors(f"cannot write {folder}"):
        return next((path, file) for path, file in found if file is not None)


def _locked(path: Path, flags: int) -> io.FileIO | None:
    """Return the file at ``path``, locked; None where it is another's."""
    try:
        number = os.open(path, _PLAIN | flags, 0o666)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
            return None
        raise
    file = io.FileIO(number, "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    if _is_ours(file, path):
        return file
    file.close()
    return None


def _is_ours(file: io.FileIO, path: Path) -> bool:
    """Whether it is this user's plain file, under this name and under no other.

    Between opening and locking, its last holder may have moved or deleted it.
    """
    status = os.fstat(file.fileno())
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_nlink == 1
        and status.st_uid == os.geteuid()
        and path.exists()
        and os.path.samestat(status, path.lstat())
    )


def _sweep(folder: Path, *, sha256: str) -> None:
    """Delete the other partials of a file that is whole by now, if nobody has them."""
    for path in folder.glob(f".{sha256}.*{PARTIAL_SUFFIX}"):
        with contextlib.suppress(OSError):
            file = _locked(path, 0)
            if file is not None:
                path.unlink()
                file.close()


def _copy_whole(source: Path, to: Path) -> None:
    """Copy to another file system; ``to`` appears all at once."""
    beside = to.with_name(f".{to.name}.{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    try:
        shutil.copyfile(source, beside)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(to)
    finally:
        beside.unlink(missing_ok=True)
