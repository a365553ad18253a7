"""OpenSSF Model Signing bundles: a release's files under a P-256 key.

A second signature, for people whose tools know this format and not ours. The key is
the service's: it says that the zoo holds these files under this name, not that the
publisher made them. Our own chain uses Ed25519, which the format does not know.

ADR 19.

Source:
    OpenSSF Model Signing 1.0, method ``files`` with a key; Sigstore bundle 0.3.
"""

import base64
import hashlib

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.keys.p256 import P256Key, key_hint
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


def write_bundle(statement: ReleaseStatement, *, key: P256Key) -> bytes:
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
