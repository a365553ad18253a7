"""Signed notes: a text, an empty line, and one line for each key that signed it.

Two kinds of signature are known: a log's plain Ed25519 signature, and a witness's
cosignature of a checkpoint, which says when. Lines by any other key or of any other
kind are passed over, as the format asks: this is how keys rotate and witnesses join.

Source:
    C2SP signed-note v1.0.0 and tlog-cosignature v1.0.0.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NoReturn, Self

from model_zoo.errors import InvalidSpecError, MalformedDocumentError, VerificationError
from model_zoo.keys.ed25519 import SIGNATURE_BYTES, PublicKey, SigningKey

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 100
MAX_NAME_CHARACTERS = 256
KEY_ID_BYTES = 4
TIMESTAMP_BYTES = 8
END_OF_TIME = 253_402_300_800
"""Seconds since the epoch at which the year 10000 begins, which no datetime holds."""

ED25519: Literal[0x01] = 0x01
COSIGNATURE: Literal[0x04] = 0x04
Algorithm = Literal[0x01, 0x04]

_SIGNATURE_START = "\N{EM DASH} "
_MIN_VALUE_BYTES = 1
_FIRST_PRINTABLE = 0x20


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key, the name it signs under and the kind of signature it makes."""

    name: str
    key: PublicKey
    algorithm: Algorithm = ED25519

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            msg = "a note key's name is 1 to 256 characters without spaces or +"
            raise InvalidSpecError(msg)

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in a signature: a hint and no more."""
        hashed = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.key.raw
        return hashlib.sha256(hashed).digest()[:KEY_ID_BYTES]

    def to_text(self) -> str:
        """Return the key as a vkey: name, key ID and key, joined by plus signs."""
        encoded = to_base64(bytes([self.algorithm]) + self.key.raw)
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the key that a vkey spells.

        Raises:
            InvalidSpecError: not a vkey, an unknown kind, or a wrong key ID.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            data = from_base64(encoded)
        except ValueError as error:
            msg = "not a verifier key: expected name+id+base64"
            raise InvalidSpecError(msg) from error
        algorithm = data[:1]
        if algorithm == bytes([ED25519]):
            key = cls(name, PublicKey(data[1:]), ED25519)
        elif algorithm == bytes([COSIGNATURE]):
            key = cls(name, PublicKey(data[1:]), COSIGNATURE)
        else:
            msg = "a verifier key of an unknown kind"
            raise InvalidSpecError(msg)
        if key.key_id.hex() != key_id:
            msg = "the verifier key's ID is not that of its name and key"
            raise InvalidSpecError(msg)
        return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the key's name, its four-byte ID, and what it signed."""

    name: str
    key_id: bytes
    value: bytes

    def to_line(self) -> str:
        """Return the line, without its newline."""
        return f"{_SIGNATURE_START}{self.name} {to_base64(self.key_id + self.value)}"

    def names(self, key: VerifierKey) -> bool:
        """Whether the line says it is by ``key``; it may lie."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified signature line and when its witness says it was made."""

    signature: NoteSignature
    time: datetime


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and its signatures, believed or not."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_text(self) -> str:
        """Return the signed note; ``parse`` is the inverse."""
        lines = "".join(f"{item.to_line()}\n" for item in self.signatures)
        return f"{self.text}\n{lines}"

    def to_bytes(self) -> bytes:
        """Return the signed note in UTF-8."""
        return self.to_text().encode()

    def signed_by(self, key: VerifierKey) -> bool:
        """Whether ``key`` signed the text.

        Raises:
            VerificationError: a line is under the key's name and ID and is not by it.
        """
        return bool(self._verified(key))

    def cosignature(self, key: PublicKey) -> Cosignature | None:
        """Return the newest cosignature by ``key``, under any name; None without one.

        A cosignature does not cover its signer's name, so the name proves nothing:
        what counts is the key.

        Raises:
            VerificationError: a line is under the key's ID and is not by it.
        """
        names = {item.name for item in self.signatures}
        verifiers = (VerifierKey(name, key, COSIGNATURE) for name in names)
        found = (line for verifier in verifiers for line in self._verified(verifier))
        return max(found, key=lambda line: line.time, default=None)

    def _verified(self, key: VerifierKey) -> list[Cosignature]:
        """Return the lines by ``key``, all of which must be; plain ones in 1970."""
        ours = (line for line in self.signatures if line.names(key))
        return [
            Cosignature(line, _verified_time(self.text, line, key)) for line in ours
        ]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the note in ``data``; nothing of it is verified.

        Raises:
            MalformedDocumentError: it is no signed note, or one over the bounds.
        """
        if len(data) > MAX_NOTE_BYTES:
            _refuse(f"more than {MAX_NOTE_BYTES} bytes")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            _refuse("not UTF-8")
        if any(ord(c) < _FIRST_PRINTABLE and c != "\n" for c in whole):
            _refuse("a control character")
        before, empty_line, after = whole.rpartition("\n\n")
        if not empty_line or not after.endswith("\n"):
            _refuse("no signature lines after an empty line")
        lines = after[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            _refuse(f"more than {MAX_SIGNATURES} signatures")
        return cls(before + "\n", tuple(map(_signature, lines)))


def is_key_name(name: str) -> bool:
    """Whether a note key may have this name."""
    return (
        1 <= len(name) <= MAX_NAME_CHARACTERS
        and "+" not in name
        and not any(c.isspace() or ord(c) < _FIRST_PRINTABLE for c in name)
    )


def sign_text(text: str, *, name: str, key: SigningKey) -> NoteSignature:
    """Return the plain Ed25519 signature of ``key`` over ``text``."""
    verifier = VerifierKey(name, key.public)
    return NoteSignature(name, verifier.key_id, key.sign(text.encode()))


def cosign_text(
    text: str, *, name: str, key: SigningKey, now: datetime
) -> NoteSignature:
    """Return a witness's cosignature, made at ``now``, over a checkpoint's ``text``."""
    seconds = int(now.timestamp())
    signature = key.sign(_cosigned_message(text, seconds))
    value = seconds.to_bytes(TIMESTAMP_BYTES, "big") + signature
    return NoteSignature(name, VerifierKey(name, key.public, COSIGNATURE).key_id, value)


def to_base64(data: bytes) -> str:
    """Return ``data`` in standard base64."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Return the bytes that standard base64 spells, of its spellings only the one.

    Raises:
        ValueError: not base64, or a spelling that ``to_base64`` does not give.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = f"not base64: {error}"
        raise ValueError(msg) from error
    if to_base64(data) != text:
        msg = "base64 with stray bits in its last letter"
        raise ValueError(msg)
    return data


def _verified_time(text: str, line: NoteSignature, key: VerifierKey) -> datetime:
    """Return the time in a line that says it is by ``key``, once it is."""
    if key.algorithm == ED25519:
        seconds, signature, message = 0, line.value, text.encode()
    else:
        seconds = int.from_bytes(line.value[:TIMESTAMP_BYTES], "big")
        signature = line.value[TIMESTAMP_BYTES:]
        message = _cosigned_message(text, seconds)
    is_right_length = len(signature) == SIGNATURE_BYTES and seconds < END_OF_TIME
    if not is_right_length or not key.key.signed(message, signature):
        msg = f"a signature under the name {key.name[:80]!a} is not by its key"
        raise VerificationError(msg)
    return datetime.fromtimestamp(seconds, UTC)


def _cosigned_message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _signature(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_SIGNATURE_START).partition(" ")
    if not line.startswith(_SIGNATURE_START) or not is_key_name(name):
        _refuse("a line that is no signature")
    try:
        data = from_base64(encoded)
    except ValueError as error:
        _refuse(f"a signature that is {error}")
    if len(data) < KEY_ID_BYTES + _MIN_VALUE_BYTES:
        _refuse("a signature without a value")
    return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _refuse(why: str) -> NoReturn:
    msg = f"not a signed note: {why}"
    raise MalformedDocumentError(msg)
