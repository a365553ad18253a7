"""JSON with one spelling: RFC 8785 out, strict and bounded in."""

import json
import math
import re
from typing import Any, NoReturn

import rfc8785

JsonObject = dict[str, Any]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
MAX_DEPTH = 32
"""Deeper nesting than any document of ours needs; Python recurses on more."""


def canonical_json(value: object) -> bytes:
    """Return the RFC 8785 form of ``value``: equal values give equal bytes.

    Args:
        value: None, bool, int within +-2**53, finite float, str, list or dict of such.

    Raises:
        ValueError: a NaN, an infinity or an integer that JSON readers would round.
    """
    try:
        return bytes(rfc8785.dumps(value))  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        msg = f"no canonical JSON: {error}"
        raise ValueError(msg) from error


def parse_object(data: bytes, *, limit_bytes: int) -> JsonObject:
    """Return the one JSON object in ``data``.

    A name that stands twice in an object is refused: two readers could each
    believe another of the two values.

    Args:
        data: UTF-8 JSON from anyone.
        limit_bytes: longer input is refused before it is read.

    Raises:
        ValueError: too long, not UTF-8, not JSON, a repeated name, NaN or an
            infinity, half a surrogate pair, nested deeper than MAX_DEPTH, or not an
            object.
    """
    if len(data) > limit_bytes:
        msg = f"{len(data)} bytes of JSON where at most {limit_bytes} are read"
        raise ValueError(msg)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_names,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        msg = f"JSON nested deeper than {MAX_DEPTH} levels"
        raise ValueError(msg) from error
    if _SURROGATE.search(data):
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # refuses half a pair
    if not isinstance(value, dict):
        msg = f"expected a JSON object, found {type(value).__name__}"
        raise ValueError(msg)  # noqa: TRY004  a reader of bytes raises one kind
    if _depth_exceeds(value, MAX_DEPTH):
        msg = f"JSON nested deeper than {MAX_DEPTH} levels"
        raise ValueError(msg)
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> JsonObject:
    names = dict(pairs)
    if len(names) != len(pairs):
        msg = "a name stands twice in one JSON object"
        raise ValueError(msg)
    return names


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        msg = f"{text[:20]} is no JSON number that a float can hold"
        raise ValueError(msg)
    return number


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _depth_exceeds(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True
