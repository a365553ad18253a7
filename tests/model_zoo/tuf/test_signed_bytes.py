"""What we sign is what python-tuf checks, byte for byte."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization import SerializationError

from model_zoo.clock import system_clock
from model_zoo.tuf.roles import expiry, signed_bytes

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=8,  # large ones cost seconds and show nothing more
)


@given(path=TEXT, custom=st.dictionaries(TEXT, JSON, max_size=3))
def test_signed_bytes_are_those_of_python_tuf(
    path: str, custom: dict[str, Any]
) -> None:
    file = TargetFile(1, {"sha256": "0" * 64}, path, {"custom": custom})
    role = Targets(expires=expiry("", system_clock()), targets={path: file})
    assert signed_bytes(role) == Metadata(role).signed_bytes


@pytest.mark.parametrize("number", [1.5, 1e300, float("nan"), float("inf")])
def test_there_are_no_signed_bytes_of_a_fraction(number: float) -> None:
    role = Targets(expires=expiry("", system_clock()))
    role.unrecognized_fields["number"] = number
    with pytest.raises(SerializationError):
        signed_bytes(role)
