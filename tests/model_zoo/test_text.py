"""Text of strangers on one line, in which nothing acts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.cli.output import answer_in_json, emit, say
from model_zoo.errors import InvalidSpecError
from model_zoo.names import ReleaseName
from model_zoo.text import MAX_SHOWN_CHARACTERS, one_line, printable
from model_zoo.tuf.ceremony import checked_reason
from model_zoo.tuf.revocations import yank_notice
from tests.model_zoo.tuf.repositories import NOW

FORGED = "an error\nverified alice/digits@1 in digits-1"
NAME = ReleaseName("alice", "digits", "1")
HOSTILE = [FORGED, "\x1b[2J", "\u202ex", "\u2066x", "a\u2028b", "a\x85b", "a\rb", "\0"]


@given(st.text(st.characters()))
def test_any_text_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


def test_what_is_too_long_is_cut() -> None:
    assert printable("x" * 9, limit=8) == "xxxxxxxx..."
    assert len(printable("x" * 10**6)) < MAX_SHOWN_CHARACTERS + 9


@pytest.mark.parametrize("text", HOSTILE)
def test_a_stranger_cannot_print_a_line_of_his_own(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say(f"zoo: {text}")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told[:-1].isprintable()


@pytest.mark.parametrize("text", [*HOSTILE, "\ud800"])
def test_a_document_on_stdout_is_json_of_ascii(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_in_json(chosen=True)
    try:
        emit({"text": text})
    finally:
        answer_in_json(chosen=False)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"text": text}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_reason_is_signed_only_if_it_is_one_line(text: str) -> None:
    with pytest.raises(InvalidSpecError, match="one line"):
        yank_notice(NAME, reason=text, files={}, now=NOW)
    with pytest.raises(InvalidSpecError, match="one line"):
        checked_reason(text)
    with pytest.raises(ValueError, match="one line"):
        one_line(text)
    assert one_line("Hintertür, 2026") == "Hintertür, 2026"
