"""DSSE: a payload, its type, and the signatures over both.

ADR 2 and ADR 36.

Source:
    DSSE protocol and envelope, version 1.0.2.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    ThresholdNotMetError,
)
from model_zoo.keys.ed25519 import SIGNATURE_BYTES, PublicKey, SigningKey

MAX_PAYLOAD_BYTES = 512 * 1024
MAX_ENVELOPE_BYTES = 1024 * 1024
MAX_SIGNATURES = 32

_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Signature:
    """Who says so (a keyid, only a hint) and the 64 bytes that show it."""

    keyid: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Role:
    """The keys that may sign for something, and how many of them must.

    A keyid is computed from its key, so one key cannot stand under two keyids and
    meet a threshold of two alone. ``name`` is how messages call the role.

    Raises:
        InvalidSpecError: one key twice, or fewer keys than must sign.
    """

    name: str = "role"
    keys: tuple[PublicKey, ...] = ()
    threshold: int = 1

    def __post_init__(self) -> None:
        if len(set(self.keys)) != len(self.keys):
            msg = f"{self.name}: one key is listed twice"
            raise InvalidSpecError(msg)
        if not 1 <= self.threshold <= len(self.keys):
            msg = (
                f"{self.name}: threshold {self.threshold} of {len(self.keys)} keys "
                "can never fail or never pass"
            )
            raise InvalidSpecError(msg)


def verify_threshold(
    message: bytes, signatures: Iterable[Signature], *, role: Role
) -> None:
    """Accept ``message`` only if enough distinct keys of ``role`` signed it.

    Signatures by keys outside the role are ignored, and a key that signs twice
    counts once. No signatures at all is a failure, never a pass.

    Raises:
        ThresholdNotMetError: fewer than ``role.threshold`` keys signed.
    """
    by_keyid = {key.keyid: key for key in role.keys}
    signers = {
        signature.keyid
        for signature in signatures
        if signature.keyid in by_keyid
        and by_keyid[signature.keyid].signed(message, signature.value)
    }
    if len(signers) < role.threshold:
        raise ThresholdNotMetError.of(
            role.name, valid=len(signers), threshold=role.threshold
        )


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: type and payload, each with its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and its signatures; only ``verified_payload`` hands the payload out."""

    payload_type: str
    unverified_payload: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def sign(
        cls, payload: bytes, *, payload_type: str, keys: Iterable[SigningKey]
    ) -> Self:
        """Return ``payload`` signed by each of ``keys``."""
        message = pre_authentication_encoding(payload_type, payload)
        signatures = tuple(
            Signature(key.public.keyid, key.sign(message)) for key in keys
        )
        return cls(payload_type, payload, signatures)

    def verified_payload(self, role: Role, *, payload_type: str) -> bytes:
        """Return the payload, once enough keys of ``role`` vouch for it.

        Raises:
            ThresholdNotMetError: too few of them signed it.
            MalformedDocumentError: they signed another type of document.
        """
        message = pre_authentication_encoding(
            self.payload_type, self.unverified_payload
        )
        verify_threshold(message, self.signatures, role=role)
        if self.payload_type != payload_type:
            msg = f"expected a payload of type {payload_type}, found another type"
            raise MalformedDocumentError(msg)
        return self.unverified_payload

    def to_object(self) -> JsonObject:
        """Return the envelope as JSON values; ``from_object`` is the inverse."""
        return {
            "payload": _encode(self.unverified_payload),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": signature.keyid, "sig": _encode(signature.value)}
                for signature in self.signatures
            ],
        }

    @classmethod
    def from_object(cls, value: object) -> Self:
        """Return the envelope that JSON values spell; unknown fields are dropped.

        Raises:
            MalformedDocumentError: they do not spell one, or one over the bounds.
        """
        try:
            wire = _EnvelopeJson.model_validate(value)
            return cls(
                wire.payloadType,
                _decode(wire.payload),
                tuple(_signature(item) for item in wire.signatures),
            )
        except (ValidationError, ValueError) as error:
            msg = "not a DSSE envelope: expected payload, payloadType and signatures"
            raise MalformedDocumentError(msg) from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the envelope that JSON bytes spell.

        Raises:
            MalformedDocumentError: they do not spell one, or one over the bounds.
        """
        try:
            value = parse_object(data, limit_bytes=MAX_ENVELOPE_BYTES)
        except ValueError as error:
            msg = f"not a DSSE envelope: {error}"
            raise MalformedDocumentError(msg) from error
        return cls.from_object(value)


class _SignatureJson(BaseModel):
    model_config = ConfigDict(strict=True)

    keyid: Annotated[str, Field(max_length=256)] = ""
    sig: Annotated[str, Field(max_length=256)]


class _EnvelopeJson(BaseModel):
    model_config = ConfigDict(strict=True)

    payload: Annotated[str, Field(max_length=MAX_PAYLOAD_BYTES * 4 // 3 + 4)]
    payloadType: Annotated[str, Field(max_length=256)]  # noqa: N815  DSSE's own name
    signatures: Annotated[list[_SignatureJson], Field(max_length=MAX_SIGNATURES)]


def _signature(item: _SignatureJson) -> Signature:
    value = _decode(item.sig)
    if len(value) != SIGNATURE_BYTES:
        msg = f"a signature of {len(value)} bytes"
        raise ValueError(msg)
    return Signature(item.keyid, value)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    """Return the bytes of standard or URL-safe base64: DSSE allows both."""
    try:
        return base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except binascii.Error as error:
        msg = f"not base64: {error}"
        raise ValueError(msg) from error
