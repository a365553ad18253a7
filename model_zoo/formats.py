"""Which files a release may hold, judged by what is in them, not by their names."""

from pathlib import Path

from model_zoo.canonical import parse_object
from model_zoo.errors import LocalError, UnsafeFormatError
from model_zoo.weights import check_header

MAX_JSON_BYTES = 1024 * 1024


def check_format(path: Path) -> None:
    """Accept the file at ``path`` only if loading it cannot run code.

    Raises:
        UnsafeFormatError: neither well-formed safetensors nor one strict JSON object.
        LocalError: it cannot be read.
    """
    match path.suffix:
        case ".safetensors":
            check_header(path)
        case ".json":
            _check_json(path)
        case _:
            msg = f"{path.name}: a release holds .safetensors and .json files only"
            raise UnsafeFormatError(msg)


def _check_json(path: Path) -> None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        parse_object(data, limit_bytes=MAX_JSON_BYTES)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error
    except ValueError as error:
        msg = f"{path.name}: expected one JSON object: {error}"
        raise UnsafeFormatError(msg) from error
