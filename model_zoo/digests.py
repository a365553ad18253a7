"""SHA-256 of bytes and files, as lowercase hexadecimal."""

import hashlib
import re
from io import BufferedReader
from pathlib import Path

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_sha256(text: str) -> bool:
    """Whether ``text`` is a SHA-256 digest as this project writes them."""
    return _HEX.fullmatch(text) is not None


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data``: 64 lowercase hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file at ``path``.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return sha256_stream(stream)


def sha256_stream(stream: BufferedReader) -> str:
    """Return the SHA-256 of all that is left in ``stream``.

    Raises:
        OSError: it cannot be read.
    """
    return hashlib.file_digest(stream, "sha256").hexdigest()
