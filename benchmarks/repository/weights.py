"""Weights of any size, for those who move bytes and do not look at them."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 20
HEADER_BYTES = 128


def write_weights(path: Path, *, size_bytes: int) -> str:
    """Write random bytes as one tensor, ``size_bytes`` in all; return the SHA-256."""
    data_bytes = size_bytes - 8 - HEADER_BYTES
    entry = {"dtype": "U8", "shape": [data_bytes], "data_offsets": [0, data_bytes]}
    header = json.dumps({"weights": entry}).encode().ljust(HEADER_BYTES)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (
            HEADER_BYTES.to_bytes(8, "little"),
            header,
            *_random_pieces(data_bytes),
        ):
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def _random_pieces(size_bytes: int) -> Iterator[bytes]:
    for start in range(0, size_bytes, CHUNK_BYTES):
        yield os.urandom(min(CHUNK_BYTES, size_bytes - start))
