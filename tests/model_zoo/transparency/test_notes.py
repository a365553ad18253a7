"""Signed notes, held against the notes and keys of other implementations."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from model_zoo.errors import InvalidSpecError, MalformedDocumentError, VerificationError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.transparency.notes import (
    COSIGNATURE,
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    VerifierKey,
    cosign_text,
    from_base64,
    sign_text,
    to_base64,
)
from model_zoo.transparency.tlog import SignedCheckpoint

VECTORS = Path(__file__).parents[2] / "vectors"
NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)
TEXT = "log.example\n1\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n"
LOG = SigningKey.generate()
WITNESS = SigningKey.generate()


def vectors(name: str) -> dict[str, Any]:
    return dict(json.loads((VECTORS / name).read_text(encoding="utf-8")))


C2SP = vectors("signed-note/c2sp.json")
GO = vectors("signed-note/golang-mod.json")
REAL = vectors("cosignatures/arche2025h1.json")
PETER, ENOCH = map(VerifierKey.from_text, GO["verifier_keys"])
GO_NOTE = (GO["text"] + "\n" + "".join(GO["signatures"])).encode()


def cosigned(*keys: SigningKey, now: datetime = NOW) -> Note:
    return Note(
        TEXT, tuple(cosign_text(TEXT, name="w", key=key, now=now) for key in keys)
    )


def test_the_example_of_the_specification_verifies() -> None:
    key = VerifierKey.from_text(C2SP["verifier_key"])
    note = Note.parse(C2SP["note"].encode())
    assert note.text == "This is an example message.\n"
    assert note.signed_by(key)
    assert note.to_text() == C2SP["note"]


@pytest.mark.parametrize(
    "text", [C2SP["verifier_key"], *GO["verifier_keys"], REAL["log"], REAL["witness"]]
)
def test_the_keys_of_others_read_and_write_as_they_write_them(text: str) -> None:
    assert VerifierKey.from_text(text).to_text() == text


def test_go_s_note_is_signed_by_both_its_keys() -> None:
    note = Note.parse(GO_NOTE)
    assert note.signed_by(PETER)
    assert note.signed_by(ENOCH)
    assert not note.signed_by(VerifierKey("PeterNeumann", LOG.public))
    assert not note.signed_by(replace(PETER, name="EnochRoot"))
    assert note.to_bytes() == GO_NOTE


def test_we_sign_what_go_signs() -> None:
    seed = from_base64(GO["seed_key"])[1:]
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(seed))
    line = sign_text(GO["text"], name="PeterNeumann", key=key)
    assert line.to_line() + "\n" == GO["signatures"][0]


@pytest.mark.parametrize("text", GO["malformed"])
def test_what_go_calls_malformed_is_malformed(text: str) -> None:
    with pytest.raises(MalformedDocumentError, match="not a signed note"):
        Note.parse(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff" + GO_NOTE, id="not UTF-8"),
        pytest.param(GO_NOTE + b"\n", id="an empty line after"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n\n\n", id="newlines"),
        pytest.param(b"a\n\n\xe2\x80\x94 w \n", id="no signature"),
        pytest.param(b"a\n\n\xe2\x80\x94 w AAAAAA==\n", id="a key ID and no more"),
        pytest.param(b"a\n\n\xe2\x80\x94 w+w AAAAAAA=\n", id="a plus in a name"),
        pytest.param(b"a\n\n\xe2\x80\x94 w AAAAAAB=\n", id="stray bits in base64"),
        pytest.param(b"a\n\n- w AAAAAAA=\n", id="a hyphen"),
        pytest.param(b"x" * (MAX_NOTE_BYTES + 1), id="too long"),
        pytest.param(
            b"a\n\n" + b"\xe2\x80\x94 w AAAAAAA=\n" * (MAX_SIGNATURES + 1),
            id="too many signatures",
        ),
    ],
)
def test_a_note_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedDocumentError, match="not a signed note"):
        Note.parse(data)


def test_as_many_signatures_as_the_format_allows_are_read() -> None:
    data = b"a\n\n" + b"\xe2\x80\x94 w AAAAAAA=\n" * MAX_SIGNATURES
    assert len(Note.parse(data).signatures) == MAX_SIGNATURES


def test_a_text_may_hold_empty_lines() -> None:
    text = "one\n\ntwo\n"
    note = Note(text, (sign_text(text, name="log.example", key=LOG),))
    read = Note.parse(note.to_bytes())
    assert read == note
    assert read.signed_by(VerifierKey("log.example", LOG.public))


def test_a_wrong_signature_under_a_known_key_spoils_the_note() -> None:
    data = GO["text"] + "\n" + GO["invalid_signature"]
    with pytest.raises(VerificationError, match="'PeterNeumann' is not by its key"):
        Note.parse(data.encode()).signed_by(PETER)
    both = GO["text"] + "\n" + GO["signatures"][0] + GO["invalid_signature"]
    with pytest.raises(VerificationError):
        Note.parse(both.encode()).signed_by(PETER)


@pytest.mark.parametrize(
    "text",
    [
        *GO["wrong_verifier_keys"],
        GO["verifier_keys"][0][:-4],
        GO["verifier_keys"][0].replace("c74f20a3", "c74f20a4"),
        GO["verifier_keys"][0].replace("c74f20a3", "C74F20A3"),
        "PeterNeumann+c74f20a3",
        "",
        "++",
        "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_a_verifier_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        VerifierKey.from_text(text)


def test_a_public_log_s_cosigned_checkpoint_verifies() -> None:
    log, witness = map(VerifierKey.from_text, (REAL["log"], REAL["witness"]))
    assert witness.algorithm == COSIGNATURE
    signed = SignedCheckpoint.open(REAL["note"].encode(), [log.key])
    assert signed.checkpoint.origin == "arche2025h1.staging.ct.transparency.dev"
    assert signed.checkpoint.size == 1_432_088_532
    found = signed.note.cosignature(witness.key)
    assert found is not None
    assert found.signature.name == "remora.n621.de"
    assert found.time == datetime(2026, 5, 23, 21, 50, 24, tzinfo=UTC)


def test_a_public_witness_did_not_cosign_another_size() -> None:
    witness = VerifierKey.from_text(REAL["witness"])
    changed = REAL["note"].replace("1432088532", "1432088533")
    with pytest.raises(VerificationError, match="not by its key"):
        Note.parse(changed.encode()).cosignature(witness.key)


def test_a_cosignature_says_when_and_is_no_log_s_signature() -> None:
    note = cosigned(WITNESS)
    found = note.cosignature(WITNESS.public)
    assert found is not None
    assert found.time == NOW
    assert note.cosignature(LOG.public) is None
    assert not note.signed_by(VerifierKey("w", WITNESS.public))


def test_a_log_s_signature_is_no_cosignature() -> None:
    note = Note(TEXT, (sign_text(TEXT, name="w", key=WITNESS),))
    assert note.cosignature(WITNESS.public) is None


def test_a_cosignature_counts_under_whatever_name_it_stands() -> None:
    line = cosign_text(TEXT, name="other.example", key=WITNESS, now=NOW)
    found = Note(TEXT, (line,)).cosignature(WITNESS.public)
    assert found is not None
    assert found.time == NOW


def test_of_two_cosignatures_by_one_key_the_newer_counts() -> None:
    later = NOW.replace(hour=14)
    lines = (*cosigned(WITNESS, now=later).signatures, *cosigned(WITNESS).signatures)
    found = Note(TEXT, lines).cosignature(WITNESS.public)
    assert found is not None
    assert found.time == later


@pytest.mark.parametrize("byte", [0, 11, 12, 40, 75])
def test_no_byte_of_a_cosignature_can_change(byte: int) -> None:
    [line] = cosigned(WITNESS).signatures
    raw = bytearray(line.key_id + line.value)
    raw[byte] ^= 1
    changed = replace(line, key_id=bytes(raw[:4]), value=bytes(raw[4:]))
    if byte < 4:
        assert Note(TEXT, (changed,)).cosignature(WITNESS.public) is None
    else:
        with pytest.raises(VerificationError):
            Note(TEXT, (changed,)).cosignature(WITNESS.public)


def test_a_cosignature_from_after_the_end_of_time_is_refused() -> None:
    seconds = 2**63
    message = f"cosignature/v1\ntime {seconds}\n{TEXT}".encode()
    [line] = cosigned(WITNESS).signatures
    value = seconds.to_bytes(8, "big") + WITNESS.sign(message)
    with pytest.raises(VerificationError):
        Note(TEXT, (replace(line, value=value),)).cosignature(WITNESS.public)


@pytest.mark.parametrize("text", ["A", "AB==", "A A=", "AA", "AAA=\n", "-_-_", "é"])
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        from_base64(text)


def test_base64_comes_back() -> None:
    assert from_base64(to_base64(bytes(range(256)))) == bytes(range(256))
