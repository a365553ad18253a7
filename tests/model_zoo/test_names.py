import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import InvalidSpecError
from model_zoo.names import ModelName, ReleaseName, check_name

parts = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
near_names = st.text(alphabet="aZ9.-_/@\\\0\n\u0301 é", max_size=12)


@given(publisher=parts, model=parts, version=parts)
def test_a_name_spelled_and_read_is_the_same_name(
    publisher: str, model: str, version: str
) -> None:
    name = ReleaseName(publisher, model, version)
    assert ReleaseName.parse(str(name)) == name
    assert ModelName.parse(str(name.model_name)) == name.model_name


@given(st.text() | near_names)
def test_any_text_is_a_name_spelled_in_one_way_or_a_told_refusal(text: str) -> None:
    for parse in (ReleaseName.parse, ModelName.parse):
        try:
            assert str(parse(text)) == text
        except InvalidSpecError as error:
            told = str(error)
        else:
            told = "a name"
        assert told.isascii()
        assert told.isprintable()


@given(st.text() | near_names)
def test_a_checked_name_is_one_harmless_path_segment(text: str) -> None:
    try:
        name = check_name(text, what="file")
    except InvalidSpecError:
        return
    assert name == text
    assert name not in {"", ".", ".."}
    assert not set(name) & set("/\\\0")
    assert name.isascii()
    assert name == name.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "alice/digits",
        "alice/digits@",
        "alice@1/digits",
        "/digits@1",
        "alice/digits@1@2",
        "alice/a/b@1",
        "alice/../x@1",
        "Alice/digits@1",
        "alice/digits@1\n",
        "alice/d\u00efgits@1",
        "\u0661/a@1",
        "a" * 65 + "/digits@1",
    ],
)
def test_what_is_no_release_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError, match="name"):
        ReleaseName.parse(text)
