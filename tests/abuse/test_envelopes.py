"""Signatures that are missing, borrowed, doubled, forged, or of something else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    ThresholdNotMetError,
    VerificationError,
    WrongReleaseError,
)
from model_zoo.keys.ed25519 import _SMALL_ORDER_Y, PublicKey, SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import (
    Envelope,
    Role,
    Signature,
    pre_authentication_encoding,
    verify_threshold,
)
from model_zoo.statements.folder import BUNDLE_NAME, manifest_of
from model_zoo.statements.intoto import (
    PAYLOAD_TYPE,
    ReleaseStatement,
    open_provenance,
    open_release,
    sign_release,
)
from model_zoo.statements.policy import Policy
from model_zoo.statements.verification import verify_directory, verify_release
from tests.model_zoo.releases import (
    ALICE,
    BOB,
    MALLORY,
    NAME,
    ORDER,
    POLICY,
    ROLE,
    provenance_of,
    write_files,
    write_release,
)

PAYLOAD = b"these files are alice/digits@1"
MESSAGE = pre_authentication_encoding("text/plain", PAYLOAD)
PAIR = Role("publisher", (ALICE.public, BOB.public), threshold=2)


def sign(*keys: SigningKey, message: bytes = MESSAGE) -> list[Signature]:
    return [Signature(key.public.keyid, key.sign(message)) for key in keys]


def claimed(keyid: str, signature: Signature) -> Signature:
    return Signature(keyid, signature.value)


A, B, M = ALICE.public.keyid, BOB.public.keyid, MALLORY.public.keyid
OTHER = pre_authentication_encoding("text/plain", PAYLOAD + b"!")


@pytest.mark.parametrize(
    "signatures",
    [
        pytest.param([], id="nothing signed"),
        pytest.param(sign(ALICE), id="one of two"),
        pytest.param(sign(ALICE, ALICE), id="the same key twice"),
        pytest.param(
            [*sign(ALICE), claimed(B, sign(ALICE)[0])], id="one key under two keyids"
        ),
        pytest.param(sign(ALICE, MALLORY), id="a key outside the role"),
        pytest.param(
            [*sign(ALICE), claimed(B, sign(MALLORY)[0])], id="a borrowed keyid"
        ),
        pytest.param(
            [*sign(ALICE), *sign(BOB, message=OTHER)], id="over another payload"
        ),
        pytest.param([*sign(ALICE), Signature(B, bytes(64))], id="zeros"),
        pytest.param([*sign(ALICE), Signature(B, b"")], id="empty"),
    ],
)
def test_a_threshold_of_two_is_not_met(signatures: list[Signature]) -> None:
    with pytest.raises(ThresholdNotMetError, match="publisher: signed by"):
        verify_threshold(MESSAGE, signatures, role=PAIR)


def test_two_distinct_keys_meet_a_threshold_of_two_whatever_surrounds_them() -> None:
    noise = [Signature(A, bytes(64)), *sign(MALLORY)]
    verify_threshold(MESSAGE, [*noise, *sign(BOB, ALICE)], role=PAIR)


@pytest.mark.parametrize("threshold", [0, -1, 3])
def test_a_threshold_that_never_fails_or_never_passes_cannot_be_built(
    threshold: int,
) -> None:
    with pytest.raises(InvalidSpecError, match="can never fail or never pass"):
        Role("publisher", (ALICE.public, BOB.public), threshold=threshold)


def test_a_role_of_one_key_listed_twice_cannot_be_built() -> None:
    with pytest.raises(InvalidSpecError, match="listed twice"):
        Role("publisher", (ALICE.public, ALICE.public), threshold=2)


IDENTITY = (1).to_bytes(32, "little")
FORGERY = IDENTITY + bytes(32)
"""R is the neutral point and S is 0: S*B = R + h*A holds for A neutral, whatever h."""


@pytest.mark.parametrize("message", [b"", b"any", b"message at all"])
def test_anyone_signs_for_a_small_order_key_and_so_it_is_no_key(message: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(IDENTITY).verify(FORGERY, message)
    with pytest.raises(InvalidSpecError, match="small order"):
        PublicKey(IDENTITY)


@pytest.mark.parametrize("sign_bit", [0, 0x80])
@pytest.mark.parametrize("y", _SMALL_ORDER_Y)
def test_no_encoding_of_a_small_order_point_is_a_key(y: str, sign_bit: int) -> None:
    raw = bytearray.fromhex(y)
    raw[-1] |= sign_bit
    with pytest.raises(InvalidSpecError, match="small order"):
        PublicKey(bytes(raw))


def test_the_small_order_points_are_those_that_eight_doublings_forget() -> None:
    """Over the curve's own arithmetic: the five y with 8P = 0, and y + p where it fits.

    Source:
        RFC 8032, section 5.1.
    """
    p = 2**255 - 19
    listed = {int.from_bytes(bytes.fromhex(y), "little") for y in _SMALL_ORDER_Y}
    small = {y for y in {value % p for value in listed} if _order_divides_eight(y, p)}
    assert len(small) == 5
    assert listed == small | {y + p for y in small if y + p < 2**255}


def _order_divides_eight(y: int, p: int) -> bool:
    d = -121665 * pow(121666, -1, p) % p
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    x = pow(square, (p + 3) // 8, p)
    if (x * x - square) % p:
        x = x * pow(2, (p - 1) // 4, p) % p
    if (x * x - square) % p:
        return False
    for _ in range(3):
        k = d * x * x * y * y
        x, y = (
            2 * x * y * pow(1 + k, -1, p) % p,
            (y * y + x * x) * pow(1 - k, -1, p) % p,
        )
    return (x, y) == (0, 1)


def test_a_signature_has_one_spelling() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    value = ALICE.sign(MESSAGE)
    s = int.from_bytes(value[32:], "little") + order
    assert ALICE.public.signed(MESSAGE, value)
    assert not ALICE.public.signed(MESSAGE, value[:32] + s.to_bytes(32, "little"))


def test_the_payload_s_type_is_signed_too() -> None:
    envelope = Envelope.sign(PAYLOAD, payload_type="text/plain", keys=[ALICE])
    assert envelope.verified_payload(ROLE, payload_type="text/plain") == PAYLOAD
    with pytest.raises(MalformedDocumentError, match="another type"):
        envelope.verified_payload(ROLE, payload_type=PAYLOAD_TYPE)
    moved = replace(envelope, payload_type=PAYLOAD_TYPE)
    with pytest.raises(ThresholdNotMetError):
        moved.verified_payload(ROLE, payload_type=PAYLOAD_TYPE)


def test_a_provenance_is_no_release_statement_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    manifest = manifest_of(write_files(tmp_path / "files"))
    provenance = provenance_of(manifest, builder=ALICE)
    with pytest.raises(MalformedDocumentError, match="expected a statement of type"):
        open_release(provenance, ROLE)
    release = sign_release(ReleaseStatement(NAME, manifest), ALICE)
    with pytest.raises(MalformedDocumentError, match="expected a statement of type"):
        open_provenance(release, ROLE)


@pytest.mark.parametrize(
    "other", ["alice/digits@2", "alice/digits2@1", "mallory/digits@1"]
)
def test_a_statement_of_another_release_is_refused(other: str, tmp_path: Path) -> None:
    manifest = manifest_of(write_files(tmp_path / "files"))
    statement = ReleaseStatement(ReleaseName.parse(other), manifest)
    envelope = sign_release(statement, ALICE)
    with pytest.raises(WrongReleaseError, match=other):
        verify_release(envelope, name=NAME, policy=POLICY)


def envelope_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = write_files(tmp_path_factory.mktemp("fuzz") / "files")
    statement = ReleaseStatement(NAME, manifest_of(folder))
    return json.dumps(sign_release(statement, ALICE).to_object()).encode()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return envelope_bytes(tmp_path_factory)


def returns_or_refuses(data: bytes, policy: Policy) -> None:
    try:
        envelope = Envelope.from_bytes(data)
        statement = verify_release(envelope, name=NAME, policy=policy)
    except VerificationError:
        return
    assert statement.release == NAME


@given(data=st.binary(max_size=400))
def test_any_bytes_verify_or_are_refused(data: bytes) -> None:
    returns_or_refuses(data, POLICY)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["payload", "payloadType", "signatures", "sig", "keyid"]),
            inner,
        )
    ),
    max_leaves=10,
)


@given(value=json_values)
def test_any_json_verifies_or_is_refused(value: object) -> None:
    returns_or_refuses(json.dumps(value).encode(), POLICY)


@given(data=st.data())
def test_a_changed_envelope_verifies_as_the_same_release_or_is_refused(
    good: bytes, data: st.DataObject
) -> None:
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(changed) - 1))
        changed[position] = data.draw(st.integers(0, 255))
    returns_or_refuses(bytes(changed), POLICY)


signed_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=8)
    | st.sampled_from([str(NAME), "0" * 64, "https://in-toto.io/Statement/v1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["_type", "subject", "predicateType", "predicate", "name", "digest"]
            )
            | st.text(max_size=4),
            inner,
        )
    ),
    max_leaves=15,
)


@given(value=signed_values)
def test_whatever_the_right_key_signed_verifies_or_is_refused(value: object) -> None:
    payload = json.dumps(value).encode()
    envelope = Envelope.sign(payload, payload_type=PAYLOAD_TYPE, keys=[ALICE])
    with pytest.raises(MalformedDocumentError):
        verify_release(envelope, name=NAME, policy=POLICY)
    with pytest.raises(MalformedDocumentError):
        open_provenance(envelope, ROLE)


@pytest.mark.parametrize(
    "text",
    [
        '{"payload":"","payloadType":"\\ud800","signatures":[]}',
        '{"payload":"","payloadType":"","signatures":[{"keyid":"\\udfff","sig":""}]}',
        '{"payload":"\\ud800","payloadType":"","signatures":[]}',
        '{"payload":"","payload":"","payloadType":"","signatures":[]}',
        '{"payload":"","payloadType":"","signatures":{}}',
        '{"payload":"!","payloadType":"","signatures":[]}',
        '{"payload":"","payloadType":"","signatures":[' + "{}," * 40 + "{}]}",
    ],
)
def test_an_envelope_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedDocumentError, match="not a DSSE envelope"):
        Envelope.from_bytes(text.encode())


@given(data=st.binary(max_size=200))
def test_any_bundle_verifies_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / BUNDLE_NAME).write_bytes(data)
    with pytest.raises(VerificationError):
        verify_directory(folder, name=NAME, policy=ORDER)


def test_an_empty_list_of_signatures_is_refused(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "digits")
    bundle = json.loads((folder / BUNDLE_NAME).read_text())
    bundle["envelope"]["signatures"] = []
    (folder / BUNDLE_NAME).write_text(json.dumps(bundle))
    with pytest.raises(ThresholdNotMetError, match="0 of the trusted keys"):
        verify_directory(folder, name=NAME, policy=POLICY)
