"""DSSE as its specification and securesystemslib have it; abuse is in tests/abuse."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib import dsse
from securesystemslib.exceptions import VerificationError as TheirError
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey

from model_zoo.canonical import JsonObject
from model_zoo.errors import ThresholdNotMetError
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.statements.dsse import Envelope, Role, pre_authentication_encoding
from tests.model_zoo.releases import ALICE, BOB, MALLORY

TYPE = "application/vnd.in-toto+json"


def their_key(key: PublicKey) -> SSlibKey:
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.raw))


def test_the_signed_bytes_are_those_of_the_specification() -> None:
    """The example of the DSSE protocol document."""
    encoded = pre_authentication_encoding(
        "http://example.com/HelloWorld", b"hello world"
    )
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@given(payload=st.binary(max_size=50), kind=st.text(max_size=20))
def test_the_signed_bytes_are_those_of_securesystemslib(
    payload: bytes, kind: str
) -> None:
    theirs = dsse.Envelope(payload=payload, payload_type=kind, signatures={})
    assert pre_authentication_encoding(kind, payload) == theirs.pae()


@pytest.mark.parametrize(
    ("signers", "keys", "threshold"),
    [
        ([ALICE], [ALICE], 1),
        ([ALICE, BOB], [ALICE, BOB], 2),
        ([ALICE, BOB], [BOB], 1),
        ([ALICE], [ALICE, BOB], 2),
        ([MALLORY], [ALICE], 1),
        ([], [ALICE], 1),
    ],
)
@pytest.mark.parametrize("flipped", [False, True])
def test_securesystemslib_accepts_what_we_accept(
    signers: list[SigningKey], keys: list[SigningKey], threshold: int, *, flipped: bool
) -> None:
    envelope = Envelope.sign(b"payload", payload_type=TYPE, keys=signers)
    wire = envelope.to_object()
    if flipped:
        wire["payload"] = base64.b64encode(b"Payload").decode()
    role = Role("role", tuple(key.public for key in keys), threshold)
    try:
        Envelope.from_object(wire).verified_payload(role, payload_type=TYPE)
    except ThresholdNotMetError:
        with pytest.raises(TheirError):
            their_verdict(wire, keys, threshold)
    else:
        their_verdict(wire, keys, threshold)


def their_verdict(wire: JsonObject, keys: list[SigningKey], threshold: int) -> None:
    theirs = dsse.Envelope.from_dict(dict(wire))
    theirs.verify([their_key(key.public) for key in keys], threshold)


def test_we_accept_what_securesystemslib_signs() -> None:
    signer = CryptoSigner.generate_ed25519()
    theirs = dsse.Envelope(payload=b"payload", payload_type=TYPE, signatures={})
    theirs.sign(signer)
    public = PublicKey(bytes.fromhex(signer.public_key.keyval["public"]))
    envelope = Envelope.from_object(theirs.to_dict())
    payload = envelope.verified_payload(Role("theirs", (public,)), payload_type=TYPE)
    assert payload == b"payload"


@given(payload=st.binary(max_size=100), kind=st.text(max_size=20))
def test_an_envelope_written_and_read_is_the_same_envelope(
    payload: bytes, kind: str
) -> None:
    envelope = Envelope.sign(payload, payload_type=kind, keys=[ALICE, BOB])
    assert Envelope.from_object(envelope.to_object()) == envelope


def test_url_safe_base64_is_read_as_dsse_asks() -> None:
    envelope = Envelope.sign(b"\xfb\xff\xfe", payload_type=TYPE, keys=[ALICE])
    wire = envelope.to_object()
    wire["payload"] = base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()
    assert Envelope.from_object(wire) == envelope
