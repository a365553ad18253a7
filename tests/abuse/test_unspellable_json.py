"""What no canonical JSON can spell is refused where a body comes in, and kept nowhere.

A body with half a surrogate pair cannot be told again as UTF-8, and a number that
readers round differently has no canonical form: one stranger's words would break the
answers to everybody.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.canonical import MAX_DEPTH, canonical_json, require_spellable
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Envelope
from tests.abuse.test_nesting import json_routes, send
from tests.service.operator import rekey
from tests.service.zoo import (
    ALICE,
    BUILDER,
    JSON,
    Zoo,
    assert_problem,
    open_zoo,
    release_path,
    signed,
    weights,
)

UNSPELLABLE = {
    "the first half of a pair": r'"\ud800"',
    "the second half of a pair": r'"a\udfffb"',
    "halves in the wrong order": r'"\ude00\ud83d"',
    "a half after a backslash": r'"\\\ud800"',
    "NaN": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "a float beyond all floats": "1e400",
    "an integer that floats round": str(2**53 + 1),
    "the first that is not exact": str(2**53),
    "a negative one": str(-(2**53)),
    "an integer as a float": "1e16",
    "an integer as a float with a point": "9007199254740993.0",
    "hundreds of digits": "9" * 400,
    "more digits than Python reads": "9" * 5000,
}
SPELLABLE = {
    "a pair": r'"\ud83d\ude00"',
    "a backslash before a u": r'"\\ud800"',
    "a letter with a code": r'"\u00e9"',
    "words that look like numbers": '"NaN Infinity 1e400 9007199254740993"',
    "a name that looks like a number": '{"1e400": 1}',
    "the largest integer": str(2**53 - 1),
    "the smallest integer": str(-(2**53) + 1),
    "a large float": "1e300",
    "a small float": "1e-400",
    "a long exponent": "1e-12345678901234567890",
    "many digits behind the point": "0.12345678901234567890",
}
RELEASE, FILES = "alice/digits@1", {"model.safetensors": weights()}
BOB = SigningKey.generate()


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    with open_zoo(tmp_path / "zoo") as opened:
        opened.bind()
        yield opened


def test_every_route_refuses_a_body_that_nobody_can_spell_again(zoo: Zoo) -> None:
    routes = json_routes(zoo)
    assert len(routes) > 12
    for method, path in routes:
        for what, text in UNSPELLABLE.items():
            body = f'{{"a": [{{"b": {text}}}, "c"]}}'
            answer = send(zoo, method, path, body)
            problem = assert_problem(answer, 400, "InvalidSpecError")
            assert "canonical JSON" in problem["detail"], (path, what)
        named = send(zoo, method, path, json.dumps({"\ud800": {}}))
        problem = assert_problem(named, 400, "InvalidSpecError")
        assert "canonical JSON" in problem["detail"], path


@pytest.mark.parametrize("what", UNSPELLABLE)
def test_what_is_refused_has_no_canonical_form(what: str) -> None:
    text = UNSPELLABLE[what]
    with pytest.raises(ValueError, match="canonical JSON"):
        require_spellable(f'{{"a": {text}}}'.encode(), max_depth=1)
    with pytest.raises(ValueError, match=r"canonical|digits"):
        canonical_json(json.loads(canonical_json(json.loads(text))))


@given(
    st.recursive(
        st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=4),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner),
        max_leaves=4,
    )
)
def test_nothing_else_is_refused(value: object) -> None:
    try:
        canonical_json(json.loads(canonical_json(value)))
    except ValueError:
        has_form = False
    else:
        has_form = True
    try:
        require_spellable(json.dumps(value).encode(), max_depth=MAX_DEPTH)
    except ValueError:
        assert not has_form
    else:
        assert has_form


@pytest.mark.parametrize("what", SPELLABLE)
def test_what_is_let_in_has_a_canonical_form(what: str) -> None:
    text = SPELLABLE[what]
    require_spellable(f'{{"a": {text}}}'.encode(), max_depth=2)
    assert canonical_json(json.loads(canonical_json(json.loads(text))))


def test_a_notice_that_nobody_can_spell_is_the_senders_fault(zoo: Zoo) -> None:
    path = "/models/nobody/x/releases/1/yank"
    for text in UNSPELLABLE.values():
        body = f'{{"notice": {{"a": {text}}}, "roles": {{"alice": {{}}}}}}'
        assert_problem(send(zoo, "POST", path, body), 400, "InvalidSpecError")


def test_a_roles_name_that_nobody_can_spell_is_the_senders_fault(zoo: Zoo) -> None:
    for name in (r"\ud800", r"\ud800~0", r"zoo~\ud800"):
        body = f'{{"roles": {{"{name}": {{}}}}}}'
        assert_problem(send(zoo, "POST", "/trust/roles", body), 400, "InvalidSpecError")


def test_an_uploads_id_that_nobody_can_spell_is_the_senders_fault(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    body = json.dumps(zoo.completion(lease) | {"upload": "\ud800"})
    for attempt in ("0" * 32, lease["attempt"]):
        answer = send(zoo, "POST", f"/attempts/{attempt}/complete", body)
        assert_problem(answer, 400, "InvalidSpecError")


def test_a_change_that_waits_can_always_be_read(zoo: Zoo) -> None:
    rekey(zoo, "alice", ALICE, BOB, threshold=2)
    envelope, upload = signed(RELEASE, FILES), zoo.upload(FILES)
    roles = zoo.release_roles(envelope)
    waits = {"upload": upload, "envelope": envelope, "roles": roles}
    assert zoo.put(release_path(RELEASE), waits).status_code == 202

    again = json.dumps(waits | {"envelope": envelope | {"x": "HERE"}})
    for text in UNSPELLABLE.values():
        body = again.replace('"HERE"', text)
        answer = send(zoo, "PUT", release_path(RELEASE), body)
        assert_problem(answer, 400, "InvalidSpecError")
    assert zoo.get("/publishers/alice/pending").json()["request"] == waits | {
        "provenance": None
    }


def test_a_signed_spec_that_nobody_can_spell_again_is_no_provenance(zoo: Zoo) -> None:
    # The trainer's statement is base64 to the door: what it says is read later.
    zoo.submit()
    lease = zoo.leased()
    completion = zoo.completion(lease, {"result.json": JSON}, spec={"seconds": 0.125})
    signed_before = Envelope.from_object(completion["provenance"])
    payload = signed_before.unverified_payload
    for number in (b"1e16", b"9007199254740993.0", b"100000000000000000000"):
        forged = payload.replace(b"0.125", number)
        assert forged != payload
        envelope = Envelope.sign(
            forged, payload_type=signed_before.payload_type, keys=[BUILDER]
        )
        answer = zoo.complete(lease, completion | {"provenance": envelope.to_object()})
        assert_problem(answer, 422, "MalformedDocumentError")
