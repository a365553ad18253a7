"""Blobs: files named by their SHA-256, written once, whole or not at all."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from model_zoo.digests import is_sha256, sha256_file
from model_zoo.errors import LocalError, NotFoundError

CHUNK_BYTES = 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageFullError(LocalError):
    """The disk, or this process's share of it, is full."""


@dataclass(frozen=True, slots=True)
class StagedBlob:
    """Bytes on disk that nobody can ask for yet."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BlobStore:
    """Write-once files below ``root``: ``sha256/ab/<64 hex digits>``.

    A blob appears by ``link``, which fails where a file already is: two writers of
    the same bytes agree, and nothing is ever replaced.
    """

    root: Path

    def path(self, sha256: str) -> Path:
        """Return where the blob is or would be.

        Raises:
            NotFoundError: ``sha256`` is no digest, so no blob has it.
        """
        if not is_sha256(sha256):
            msg = "no such blob: expected 64 lowercase hexadecimal digits"
            raise NotFoundError(msg)
        return self.root / "sha256" / sha256[:2] / sha256

    def holds(self, sha256: str) -> bool:
        """Whether the blob is there."""
        return self.path(sha256).is_file()

    @contextmanager
    def staged(self, chunks: Iterable[bytes]) -> Iterator[StagedBlob]:
        """Write ``chunks`` to a temporary file, hashed on the way; gone on exit.

        Raises:
            StorageFullError: there is no room.
            LocalError: the disk refuses for another reason.
        """
        with translate_errors("cannot store a file"):
            folder = self.root / "staging"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / secrets.token_hex(16)
        try:
            with translate_errors("cannot store a file"):
                yield _written(path, chunks)
        finally:
            path.unlink(missing_ok=True)

    def keep(self, blob: StagedBlob) -> None:
        """Give ``blob`` its place; keeping the same bytes twice is no error.

        Raises:
            StorageFullError: there is no room.
            LocalError: the disk refuses for another reason.
        """
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
        """Accept a blob only if it still is what its name says, to the last byte.

        A damaged one is moved to ``damaged`` for whoever looks into it; its place is
        free again, so that the next upload of these bytes heals it.

        Raises:
            LocalError: it was damaged, or the disk refuses.
        """
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
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            msg = f"{what}: the disk is full; free some space and send it again"
            raise StorageFullError(msg) from error
        msg = f"{what}: {error.strerror}"
        raise LocalError(msg) from error


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
