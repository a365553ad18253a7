"""Spec files: a job's kind and its spec in one JSON object."""

from collections.abc import Mapping
from pathlib import Path

from model_zoo.canonical import parse_object
from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.statements.jobs import MAX_SPEC_BYTES, JobSpec, parse_spec


def read_spec(path: Path, *, defaults: Mapping[str, str] | None = None) -> JobSpec:
    """Return the spec in the file at ``path``: ``{"kind": "train", "seed": 1, ...}``.

    The kind stands in the user's file, since a server that could choose it could
    have one kind of job checked against the spec of another.

    Args:
        path: the file.
        defaults: what need not be typed, as a command knows it already.

    Raises:
        InvalidSpecError: not JSON, no kind, or not a spec of that kind.
        LocalError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SPEC_BYTES + 1)
        typed = parse_object(data, limit_bytes=MAX_SPEC_BYTES)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error
    except ValueError as error:
        msg = f"{path}: not a spec: {error}"
        raise InvalidSpecError(msg) from error
    fields = {**(defaults or {}), **typed}
    kind = fields.pop("kind", None)
    if not isinstance(kind, str):
        msg = f'{path}: a spec file names its "kind", such as "train"'
        raise InvalidSpecError(msg)
    return parse_spec(kind, fields)
