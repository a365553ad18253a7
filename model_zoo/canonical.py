"""JSON with one spelling: RFC 8785 out, strict and bounded in."""

import json
import math
import re
from itertools import accumulate
from typing import Any, NoReturn

import rfc8785

JsonObject = dict[str, Any]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_CONSTANTS = re.compile(rb"NaN|Infinity")
_LARGE = re.compile(
    rb"(?<![0-9.eE])(?<![eE][-+])"
    rb"(?:[0-9]{16}[0-9]*+(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+"
    rb"|[0-9]++(?:\.[0-9]++)?+[eE]\+?+[0-9]++)"
)
"""Numbers that may reach 2**53: with so many digits, or an exponent above zero."""
_INEXACT = 2.0**53
"""From here on readers round integers."""
_EXPONENT_FROM = 1e21
"""From here on RFC 8785 spells a float with an exponent, and below as an integer."""
MAX_DEPTH = 32
"""Deeper nesting than any document of ours needs; Python recurses on more."""

# A string that does not end runs to the end of the data; possessive, hence linear.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - set(_STEPS))


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
    text, _ = _shallow(data, max_depth=MAX_DEPTH)
    value = json.loads(
        text,
        object_pairs_hook=_unique_names,
        parse_constant=_refuse_constant,
        parse_float=_finite,
    )
    if _SURROGATE.search(data):
        _require_whole_pairs(value)
    if not isinstance(value, dict):
        msg = f"expected a JSON object, found {type(value).__name__}"
        raise ValueError(msg)  # noqa: TRY004  a reader of bytes raises one kind
    return value


def require_spellable(data: bytes, *, max_depth: int) -> None:
    """Accept JSON that is shallow and has a canonical form, which reads back the same.

    Tokens are looked at, without recursion: what is no JSON may pass, and the parser
    refuses it where it stops being one.

    Raises:
        ValueError: not UTF-8, nested deeper than ``max_depth`` levels, half a surrogate
            pair, a NaN, an infinity, or a number whose canonical form is an integer
            that JSON readers would round.
    """
    _, bare = _shallow(data, max_depth=max_depth)
    if _CONSTANTS.search(bare):
        msg = "NaN and infinity have no canonical JSON"
        raise ValueError(msg)
    for number in set(_LARGE.findall(bare)):
        value = float(number)
        is_integer = number.isdigit() or value < _EXPONENT_FROM
        if math.isinf(value) or (is_integer and value >= _INEXACT):
            msg = f"{number[:20].decode()} has no canonical JSON: readers would round"
            raise ValueError(msg)
    if _SURROGATE.search(data):
        _require_whole_pairs(json.loads(data))


def _shallow(data: bytes, *, max_depth: int) -> tuple[str, bytes]:
    """Return the text in ``data``, and ``data`` without its strings.

    No JSON parser follows the text deeper than ``max_depth``. Only brackets are
    counted, without recursion.

    Raises:
        ValueError: nested deeper, or in another encoding.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"expected JSON in UTF-8: {error}"
        raise ValueError(msg) from error
    if b"\0" in data:  # UTF-16 and UTF-32, in which a letter can look like a quote
        msg = "expected JSON in UTF-8: a NUL byte"
        raise ValueError(msg)
    bare = _STRINGS.sub(b"", data)
    brackets = bare.translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > max_depth:
        msg = f"JSON nested deeper than {max_depth} levels"
        raise ValueError(msg)
    return text, bare


def _require_whole_pairs(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        msg = f"half a surrogate pair has no canonical JSON: {error}"
        raise ValueError(msg) from error


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
