"""OpenSSF Model Signing bundles: a release's files under a P-256 key.

A second signature, for people whose tools know this format and not ours. The key is
the service's: it says that the zoo holds these files under this name, not that the
publisher made them. Our own chain uses Ed25519, which the format does not know.

Source:
    OpenSSF Model Signing 1.0, method ``files`` with a key; Sigstore bundle 0.3.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError
from model_zoo.keys.pem import read_private_key, write_private_key
from model_zoo.statements.dsse import pre_authentication_encoding
from model_zoo.statements.folder import BUNDLE_NAME, EVIDENCE_NAME
from model_zoo.statements.intoto import PAYLOAD_TYPE, STATEMENT_TYPE, ReleaseStatement
from model_zoo.statements.manifest import Manifest

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
ALWAYS_IGNORED = (".git", ".gitattributes", ".github", ".gitignore")
"""What section 6.2 has every verifier pass over; no release can hold such a name."""
BESIDE = (BUNDLE_NAME, EVIDENCE_NAME)
"""Our own evidence in a pulled folder; no release can hold such a name."""


@dataclass(frozen=True, slots=True)
class OmsKey:
    """A P-256 private key; on disk it is always encrypted, in print never shown."""

    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "OmsKey":
        """Return a new key from the system's randomness."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path, *, passphrase: bytes) -> "OmsKey":
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


def write_bundle(statement: ReleaseStatement, *, key: OmsKey) -> bytes:
    """Return the bundle, a ``model.sig``, in which ``key`` vouches for a release.

    Verifiers compare the files and pass over the name, so the bundle of an old
    version is as good to them as that of the newest.

    Source:
        OpenSSF Model Signing 1.0, sections 4 to 6.
    """
    payload = canonical_json(_statement(statement))
    signature = key.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    hint = key_hint(key.public_pem())
    return canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode("ascii"),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"sig": base64.b64encode(signature).decode("ascii"), "keyid": ""}
                ],
            },
        }
    )


def root_digest(manifest: Manifest) -> str:
    """Return the SHA-256 over the files' digests, in the order of their names."""
    digests = (bytes.fromhex(file.sha256) for file in manifest.files)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _to_pem(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode("ascii")


def _statement(statement: ReleaseStatement) -> JsonObject:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": str(statement.release),
                "digest": {"sha256": root_digest(statement.manifest)},
            }
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": sorted({*ALWAYS_IGNORED, *BESIDE}),
            },
            "resources": [
                {"name": file.name, "algorithm": "sha256", "digest": file.sha256}
                for file in statement.manifest.files
            ],
        },
    }
