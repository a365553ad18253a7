"""Ed25519 keys: made, named, kept encrypted, and used to sign and verify."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError
from model_zoo.keys.pem import (
    MAX_PEM_BYTES,
    PRIVATE_MARK,
    read_pem,
    read_private_key,
    write_private_key,
)

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_SMALL_ORDER_Y = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)
"""Points of order 1, 2, 4 and 8, sign bit clear, canonical or not.

Anyone can sign for such a key without knowing a secret.
Source: RFC 8032 section 5.1 gives the curve; the list follows from 8P = 0.
"""
_SIGN_BIT_CLEAR = 0x7F


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key that can belong to somebody: 32 bytes, not small-order."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_KEY_BYTES:
            msg = f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes"
            raise InvalidSpecError(msg)
        y = self.raw[:-1] + bytes([self.raw[-1] & _SIGN_BIT_CLEAR])
        if y.hex() in _SMALL_ORDER_Y:
            msg = "this public key is of small order: anyone can sign for it"
            raise InvalidSpecError(msg)

    @property
    def keyid(self) -> str:
        """The key's name: SHA-256 of its canonical JSON, as securesystemslib's."""
        key = {
            "keytype": "ed25519",
            "keyval": {"public": self.raw.hex()},
            "scheme": "ed25519",
        }
        return sha256_bytes(canonical_json(key))

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``; never raises."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_pem(self) -> str:
        """Return the key as SubjectPublicKeyInfo PEM; ``from_pem`` is the inverse."""
        return (
            Ed25519PublicKey.from_public_bytes(self.raw)
            .public_bytes(
                serialization.Encoding.PEM,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            )
            .decode("ascii")
        )

    @classmethod
    def from_pem(cls, text: str) -> "PublicKey":
        """Return the key in ``text``.

        Raises:
            InvalidSpecError: not one PEM public key, not Ed25519, or of small order.
        """
        if len(text) > MAX_PEM_BYTES:
            msg = f"expected a public key in PEM, found {len(text)} characters"
            raise InvalidSpecError(msg)
        try:
            key = serialization.load_pem_public_key(text.encode("ascii"))
        except (ValueError, UnsupportedAlgorithm) as error:
            msg = f"expected an Ed25519 public key in PEM: {error}"
            raise InvalidSpecError(msg) from error
        if not isinstance(key, Ed25519PublicKey):
            msg = f"expected an Ed25519 public key, found {type(key).__name__}"
            raise InvalidSpecError(msg)
        return cls(key.public_bytes_raw())

    @classmethod
    def load(cls, path: Path) -> "PublicKey":
        """Return the key in the PEM file at ``path``.

        Raises:
            InvalidSpecError: it holds no Ed25519 public key.
            LocalError: it cannot be read.
        """
        data = read_pem(path)
        if PRIVATE_MARK in data:
            msg = (
                f"{path}: this is a private key; give its public half, and it to nobody"
            )
            raise InvalidSpecError(msg)
        try:
            return cls.from_pem(data.decode("ascii", errors="replace"))
        except InvalidSpecError as error:
            msg = f"{path}: {error}"
            raise InvalidSpecError(msg) from error


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key; on disk it is always encrypted, in print never shown."""

    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """The half to publish."""
        return PublicKey(self._private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over ``message``."""
        return self._private.sign(message)

    def save(self, path: Path, *, passphrase: bytes) -> None:
        """Write the key to a new file that only its owner may read.

        Raises:
            InvalidSpecError: the passphrase is shorter than MIN_PASSPHRASE_BYTES.
            LocalError: the file exists already or cannot be written.
        """
        write_private_key(path, self._private, passphrase=passphrase)

    @classmethod
    def load(cls, path: Path, *, passphrase: bytes) -> "SigningKey":
        """Return the key in the encrypted PEM file at ``path``.

        Raises:
            NotPermittedError: others may read the file, it is not encrypted, or the
                passphrase is wrong.
            InvalidSpecError: it holds another kind of key.
            LocalError: it cannot be read.
        """
        key = read_private_key(path, passphrase=passphrase)
        if not isinstance(key, Ed25519PrivateKey):
            msg = f"{path}: expected an Ed25519 key, found {type(key).__name__}"
            raise InvalidSpecError(msg)
        return cls(key)
