import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.canonical import MAX_DEPTH, canonical_json, parse_object

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(min_value=-(2.0**52), max_value=2.0**52)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_equal_values_have_one_spelling_that_reads_back(value: object) -> None:
    data = canonical_json(value)
    assert parse_object(data, limit_bytes=len(data)) == json.loads(data)
    assert canonical_json(json.loads(data)) == data


def test_the_spelling_is_that_of_rfc_8785() -> None:
    """The document of its section 3.2.2, and what section 3.2.3 makes of it."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(value).decode() == (
        '{"literals":[null,true,false],'
        '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53 + 1, "\ud800", {1: 2}])
def test_what_readers_would_read_differently_has_no_spelling(value: object) -> None:
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical_json({"value": value})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"a":1,"a":1}', "twice"),
        (b'{"x":{"a":1,"a":2}}', "twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":1e999}', "no JSON number"),
        (b"[]", "JSON object"),
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"{} {}", "Extra data"),
        (b'{"a":' + b"9" * 5000 + b"}", "digits"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(
    data: bytes, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        parse_object(data, limit_bytes=len(data))


def test_more_bytes_than_the_limit_are_not_read() -> None:
    assert parse_object(b"{}", limit_bytes=2) == {}
    with pytest.raises(ValueError, match="3 bytes of JSON where at most 2 are read"):
        parse_object(b"{} ", limit_bytes=2)


def test_a_whole_float_past_the_exact_integers_is_spelled_but_not_read_again() -> None:
    """RFC 8785 writes 2.0**53 without a point, and no reader may round an integer."""
    data = canonical_json({"a": 2.0**53})
    assert data == b'{"a":9007199254740992}'
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical_json(parse_object(data, limit_bytes=99))


def test_nesting_is_read_to_the_limit_and_no_deeper() -> None:
    for depth, fits in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False)):
        data = b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
        try:
            parse_object(data, limit_bytes=len(data))
        except ValueError:
            assert not fits
        else:
            assert fits


@given(st.binary(max_size=100))
def test_any_bytes_are_an_object_or_a_value_error(data: bytes) -> None:
    try:
        assert isinstance(parse_object(data, limit_bytes=100), dict)
    except ValueError:
        return
