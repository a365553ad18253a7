"""What may enter: safetensors and JSON, judged by content and never by name alone."""

import os
from pathlib import Path

from model_zoo.canonical import parse_object
from model_zoo.errors import LocalError, UnsafeFormatError
from model_zoo.weights import check_header

MAX_JSON_BYTES = 1024 * 1024
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_COMMENT_MAX_BYTES = 0xFFFF


def check_admissible(name: str, path: Path) -> None:
    """Accept the file at ``path`` if it is what its name says, and that is harmless.

    Nothing is loaded: a safetensors header is parsed with bounds, JSON is parsed,
    and everything else is refused.

    Raises:
        UnsafeFormatError: another format, or one that breaks its own rules.
    """
    if name.endswith(".safetensors"):
        check_header(path)
        _refuse_zip(name, path)
    elif name.endswith(".json"):
        _check_json(name, path)
    else:
        msg = f"{name}: only .safetensors and .json are admitted"
        raise UnsafeFormatError(msg)


def _check_json(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        parse_object(data, limit_bytes=MAX_JSON_BYTES)
    except OSError as error:
        msg = f"cannot read {name}: {error.strerror}"
        raise LocalError(msg) from error
    except ValueError as error:
        msg = f"{name}: not a JSON object: {error}"
        raise UnsafeFormatError(msg) from error


def _refuse_zip(name: str, path: Path) -> None:
    """Refuse a file that is a zip archive to readers who look at its end.

    Tensor bytes are free, so valid safetensors may end in an archive with a pickle
    inside, which ``torch.load`` would find. A zip's end record says how many bytes
    follow it; random weights match both by chance once in 2**32 files or so.

    Source:
        PKWARE APPNOTE 6.3.10, section 4.3.16.
    """
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _ZIP_END_BYTES - _ZIP_COMMENT_MAX_BYTES))
        tail = file.read()
    start = tail.find(_ZIP_END)
    while start >= 0:
        comment = tail[start + _ZIP_END_BYTES - 2 : start + _ZIP_END_BYTES]
        if int.from_bytes(comment, "little") == len(tail) - start - _ZIP_END_BYTES:
            msg = f"{name}: its tensors hide a zip archive"
            raise UnsafeFormatError(msg)
        start = tail.find(_ZIP_END, start + 1)
