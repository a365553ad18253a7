"""Blobs: files named by their SHA-256, written once, whole or not at all.

ADR 12: bytes appear when they are whole and checked. ADR 40: a port, since a folder is
not the only place for them.
"""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model_zoo.digests import is_sha256, sha256_file
from model_zoo.errors import LocalError, NotFoundError
from model_zoo.files import translate_os_errors

CHUNK_BYTES = 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageFullError(LocalError):
    """The disk, or this process's share of it, is full."""


@dataclass(frozen=True, slots=True)
class StagedBlob:
    """Bytes that nobody can ask for yet, in a file of this machine to look into."""

    path: Path
    size_bytes: int
    sha256: str


class Blobs(Protocol):
    """Files named by their SHA-256: written once, whole or not at all.

    Nobody but an implementation knows where they lie; ``tests/contracts`` says what
    each of them has to do. A digest is 64 lowercase hexadecimal digits, or the method
    raises NotFoundError. Each raises LocalError where the storage refuses, and
    StorageFullError where it is full.
    """

    def holds(self, sha256: str) -> bool:
        """Whether the blob is there."""
        ...

    def read(self, sha256: str, *, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to, not including, ``end``."""
        ...

    def local(self, sha256: str) -> AbstractContextManager[Path]:
        """Give a file of this machine with the blob's bytes, to be read in the block.

        Raises:
            NotFoundError: there is no such blob.
        """
        ...

    def staged(self, chunks: Iterable[bytes]) -> AbstractContextManager[StagedBlob]:
        """Write ``chunks`` aside, hashed on the way; gone when the block is left."""
        ...

    def keep(self, blob: StagedBlob) -> None:
        """Make ``blob`` readable; keeping the same bytes twice is no error."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield the digest of every blob."""
        ...

    def require_intact(self, sha256: str) -> None:
        """Accept a blob only if it still is what its name says, to the last byte.

        A damaged one is set aside for whoever looks into it; its place is free again,
        so that the next upload of these bytes heals it.

        Raises:
            LocalError: it was damaged.
        """
        ...

    def discard(self, sha256: str) -> None:
        """Remove a blob that no row refers to any more; none is no error."""
        ...

    def forget_staged(self) -> None:
        """Remove what killed writers left aside; nobody may be writing."""
        ...

    def is_writable(self) -> bool:
        """Whether blobs can be kept now, as far as can be told without trying."""
        ...


@dataclass(frozen=True, slots=True)
class FolderBlobs:
    """Blobs in a folder: ``sha256/ab/<64 hex digits>`` below ``root``.

    A blob appears by ``link``, which fails where a file already is: two writers of
    the same bytes agree, and nothing is ever replaced.
    """

    root: Path

    def make(self) -> None:
        """Make the folder, where there is none."""
        (self.root / "sha256").mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where the blob is or would be.

        Raises:
            NotFoundError: ``sha256`` is no digest, so no blob has it.
        """
        require_digest(sha256)
        return self.root / "sha256" / sha256[:2] / sha256

    def holds(self, sha256: str) -> bool:
        """Whether the blob is there."""
        return self.path(sha256).is_file()

    def read(self, sha256: str, *, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to, not including, ``end``."""
        with self.path(sha256).open("rb", buffering=0) as file:
            file.seek(start)
            left = end - start
            while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk

    @contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        """Give the file itself: it is on this machine."""
        path = self.path(sha256)
        if not path.is_file():
            msg = f"no blob {sha256}"
            raise NotFoundError(msg)
        yield path

    @contextmanager
    def staged(self, chunks: Iterable[bytes]) -> Iterator[StagedBlob]:
        """Write ``chunks`` to a temporary file, hashed on the way; gone on exit."""
        with translate_errors("cannot store a file"):
            self._staging.mkdir(parents=True, exist_ok=True)
            path = self._staging / secrets.token_hex(16)
        try:
            with translate_errors("cannot store a file"):
                yield _written(path, chunks)
        finally:
            path.unlink(missing_ok=True)

    def keep(self, blob: StagedBlob) -> None:
        """Link ``blob`` to its place; a file that is there already stays."""
        place = self.path(blob.sha256)
        with translate_errors("cannot store a file"):
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(blob.path, place)
            sync_directory(place.parent)

    def digests(self) -> Iterator[str]:
        """Yield the digest of every blob."""
        for path in (self.root / "sha256").glob("[0-9a-f][0-9a-f]/*"):
            yield path.name

    def require_intact(self, sha256: str) -> None:
        """Accept an intact blob; a damaged one is moved to ``damaged``."""
        with translate_errors("cannot read a stored file"):
            if sha256_file(self.path(sha256)) == sha256:
                return
            folder = self.root / "damaged"
            folder.mkdir(exist_ok=True)
            self.path(sha256).replace(folder / sha256)
            sync_directory(folder)
        msg = (
            f"stored file {sha256} was damaged on the zoo's disk and set aside: "
            "publish it once more, and it is sent anew"
        )
        raise LocalError(msg)

    def discard(self, sha256: str) -> None:
        """Remove a blob that no row refers to any more."""
        self.path(sha256).unlink(missing_ok=True)

    def forget_staged(self) -> None:
        """Remove the temporary files of writers that were killed."""
        shutil.rmtree(self._staging, ignore_errors=True)

    def is_writable(self) -> bool:
        """Whether the folder is there and lets this process write."""
        return os.access(self.root, os.W_OK)

    @property
    def _staging(self) -> Path:
        return self.root / "staging"


def require_digest(sha256: str) -> None:
    """Accept what can name a blob.

    Raises:
        NotFoundError: ``sha256`` is no digest, so no blob has it.
    """
    if not is_sha256(sha256):
        msg = "no such blob: expected 64 lowercase hexadecimal digits"
        raise NotFoundError(msg)


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the file's bytes, CHUNK_BYTES at a time."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def sync_directory(path: Path) -> None:
    """Make the names in a directory last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn the system's refusal into an error that says what to do.

    Raises:
        StorageFullError: there is no room.
        LocalError: the disk refuses for another reason.
    """
    with translate_os_errors(what):
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                msg = f"{what}: the disk is full; free some space and send it again"
                raise StorageFullError(msg) from error
            raise


def _written(path: Path, chunks: Iterable[bytes]) -> StagedBlob:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size_bytes += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return StagedBlob(path, size_bytes, digest.hexdigest())
