"""P-256 keys, for bundles that tools of other projects verify.

Our own chain uses Ed25519, which the format of those bundles does not know.

ADR 19.
"""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError
from model_zoo.keys.pem import read_private_key, write_private_key


@dataclass(frozen=True, slots=True)
class P256Key:
    """A P-256 private key; on disk it is always encrypted, in print never shown."""

    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "P256Key":
        """Return a new key from the system's randomness."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path, *, passphrase: bytes) -> "P256Key":
        """Return the key in the encrypted PEM file at ``path``.

        Raises:
            NotPermittedError: others may read the file, it is not encrypted, or the
                passphrase is wrong.
            InvalidSpecError: it holds another kind of key.
            LocalError: it cannot be read.
        """
        key = read_private_key(path, passphrase=passphrase)
        if isinstance(key, ec.EllipticCurvePrivateKey) and (
            key.curve.name == ec.SECP256R1.name
        ):
            return cls(key)
        msg = f"{path}: expected a P-256 key, found another kind"
        raise InvalidSpecError(msg)

    def save(self, path: Path, *, passphrase: bytes) -> None:
        """Write the key to a new file that only its owner may read.

        Raises:
            InvalidSpecError: the passphrase is too short.
            LocalError: the file exists already or cannot be written.
        """
        write_private_key(path, self._private, passphrase=passphrase)

    def public_pem(self) -> str:
        """Return the public half as SubjectPublicKeyInfo PEM: what verifiers take."""
        return _to_pem(self._private.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the DER signature over ``message``: equal messages, equal bytes.

        Source:
            RFC 6979: the nonce comes from key and message, so that no fault of a
            random generator gives the key away and a bundle has one spelling.
        """
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        return self._private.sign(message, algorithm)


def public_pem(text: str) -> str:
    """Return a P-256 public key in the one spelling that is published.

    Raises:
        InvalidSpecError: not one PEM public key, or of another kind.
    """
    try:
        key = serialization.load_pem_public_key(text.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"expected a P-256 public key in PEM: {error}"
        raise InvalidSpecError(msg) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or (
        key.curve.name != ec.SECP256R1.name
    ):
        msg = f"expected a P-256 public key, found {type(key).__name__}"
        raise InvalidSpecError(msg)
    return _to_pem(key)


def key_hint(pem: str) -> str:
    """Return how a bundle names the public key that verifies it."""
    return sha256_bytes(pem.encode("ascii"))


def _to_pem(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode("ascii")
