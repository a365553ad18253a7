"""Which files a release may hold, judged by what is in them, not by their names."""

import os
from pathlib import Path

from model_zoo.canonical import parse_object
from model_zoo.errors import LocalError, UnsafeFormatError
from model_zoo.graphs import check_graph
from model_zoo.weights import check_header

MAX_JSON_BYTES = 1024 * 1024
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_COMMENT_MAX_BYTES = 0xFFFF


def check_format(path: Path, *, name: str) -> None:
    """Accept the file at ``path`` only if loading it as ``name`` cannot run code.

    Nothing is loaded: a safetensors header is parsed with bounds, an ONNX graph is
    walked with bounds, JSON is parsed, and everything else is refused.

    Raises:
        UnsafeFormatError: neither well-formed safetensors, nor ONNX that needs nothing
            beside itself, nor one strict JSON object.
        LocalError: it cannot be read.
    """
    try:
        if name.endswith(".safetensors"):
            check_header(path)
            _refuse_hidden_zip(path, name=name)
        elif name.endswith(".onnx"):
            check_graph(path)
            _refuse_hidden_zip(path, name=name)
        elif name.endswith(".json"):
            _check_json(path, name=name)
        else:
            msg = f"{name}: a release holds .safetensors, .onnx and .json files only"
            raise UnsafeFormatError(msg)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error


def _check_json(path: Path, *, name: str) -> None:
    with path.open("rb") as file:
        data = file.read(MAX_JSON_BYTES + 1)
    try:
        parse_object(data, limit_bytes=MAX_JSON_BYTES)
    except ValueError as error:
        msg = f"{name}: expected one JSON object: {error}"
        raise UnsafeFormatError(msg) from error


def _refuse_hidden_zip(path: Path, *, name: str) -> None:
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
