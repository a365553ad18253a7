"""One part of an upload on its way to disk: whole and right, or not there.

ADR 12: parts can be sent again, so none has to survive a power cut.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Self

from model_zoo.errors import (
    DigestMismatchError,
    LengthMismatchError,
    NotFoundError,
)
from service.storage.blobs import translate_errors


@dataclass(frozen=True, slots=True)
class PartSlot:
    """The place of one part: what it is called on disk and how long it must be."""

    path: Path
    file_name: str
    number: int
    size_bytes: int

    @property
    def title(self) -> str:
        """What the part is called in an error."""
        return f"{self.file_name} part {self.number}"

    def is_filled(self) -> bool:
        """Whether the part arrived whole."""
        try:
            return self.path.stat().st_size == self.size_bytes
        except FileNotFoundError:
            return False


@dataclass(slots=True)
class PartWriter:
    """A part on its way to disk; it takes its place only when whole and right."""

    slot: PartSlot
    _path: Path
    _file: FileIO
    _size_bytes: int = 0
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @classmethod
    def open(cls, slot: PartSlot) -> Self:
        """Start to receive a part.

        Raises:
            NotFoundError: the upload was deleted meanwhile.
            LocalError: the disk refuses, or is full.
        """
        path = slot.path.with_name(f".{secrets.token_hex(16)}")
        with _storing():
            return cls(slot, path, path.open("xb", buffering=0))

    def write(self, data: bytes) -> None:
        """Add ``data``.

        Raises:
            LengthMismatchError: the part is too long.
            LocalError: the disk refuses, or is full.
        """
        self._size_bytes += len(data)
        if self._size_bytes > self.slot.size_bytes:
            found = "more"
            raise self._wrong_length(found)
        view = memoryview(data)
        with _storing():
            while view:  # an unbuffered file may take less than it is given
                view = view[self._file.write(view) :]
        self._digest.update(data)

    def finish(self, expected_sha256: bytes | None) -> None:
        """Give the part its place.

        It is not forced to disk: what a power cut takes away is missed on completion.

        Raises:
            LengthMismatchError: the part is too short.
            DigestMismatchError: it is not what the sender's Content-Digest says.
            LocalError: the disk refuses.
        """
        if self._size_bytes != self.slot.size_bytes:
            found = str(self._size_bytes)
            raise self._wrong_length(found)
        if expected_sha256 not in (None, self._digest.digest()):
            raise DigestMismatchError.of(
                self.slot.title,
                expected=(expected_sha256 or b"").hex(),
                found=self._digest.hexdigest(),
            )
        with _storing():
            self._path.replace(self.slot.path)

    def close(self) -> None:
        """Leave nothing half-written behind."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _wrong_length(self, found: str) -> LengthMismatchError:
        return LengthMismatchError.of(
            self.slot.title, expected=self.slot.size_bytes, found=found
        )


@contextmanager
def _storing() -> Iterator[None]:
    with translate_errors("cannot store a part"):
        try:
            yield
        except FileNotFoundError as error:
            msg = "the upload was deleted or completed meanwhile"
            raise NotFoundError(msg) from error
