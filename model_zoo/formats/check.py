"""Which files a release may hold, judged by what is in them, not by their names."""

from pathlib import Path

from model_zoo.canonical import parse_object
from model_zoo.errors import UnsafeFormatError
from model_zoo.files import open_plain, translate_os_errors
from model_zoo.formats.onnx import check_graph
from model_zoo.formats.polyglots import refuse_polyglot
from model_zoo.formats.safetensors import check_header

MAX_JSON_BYTES = 1024 * 1024


def check_format(path: Path, *, name: str) -> None:
    """Accept the file at ``path`` only if loading it as ``name`` cannot run code.

    Nothing is loaded: a safetensors header is parsed with bounds, an ONNX graph is
    walked with bounds, JSON is parsed, and everything else is refused.

    Raises:
        UnsafeFormatError: neither well-formed safetensors, nor ONNX that needs nothing
            beside itself, nor one strict JSON object; or another format as well.
        MalformedDocumentError: it is no plain file.
        LocalError: it cannot be read.
    """
    if name.endswith(".safetensors"):
        check_header(path)
    elif name.endswith(".onnx"):
        check_graph(path)
    elif name.endswith(".json"):
        _check_json(path, name=name)
    else:
        msg = f"{name}: a release holds .safetensors, .onnx and .json files only"
        raise UnsafeFormatError(msg)
    refuse_polyglot(path, name=name)


def _check_json(path: Path, *, name: str) -> None:
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        data = file.read(MAX_JSON_BYTES + 1)
    try:
        parse_object(data, limit_bytes=MAX_JSON_BYTES)
    except ValueError as error:
        msg = f"{name}: expected one JSON object: {error}"
        raise UnsafeFormatError(msg) from error
