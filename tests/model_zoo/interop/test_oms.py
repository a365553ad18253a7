import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_zoo.errors import InvalidSpecError, LocalError, NotPermittedError
from model_zoo.interop.oms import write_bundle
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.keys.p256 import P256Key
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import pre_authentication_encoding
from model_zoo.statements.intoto import ReleaseStatement
from model_zoo.statements.manifest import FileEntry, Manifest

KEY = P256Key.generate()
PASSPHRASE = b"twelve letters and more"
WEIGHTS = FileEntry(name="model.safetensors", size_bytes=9, sha256="a" * 64)
CONFIG = FileEntry(name="config.json", size_bytes=2, sha256="b" * 64)
STATEMENT = ReleaseStatement(
    ReleaseName("alice", "digits", "1"), Manifest(files=(WEIGHTS, CONFIG))
)


def payload_of(bundle: bytes) -> dict[str, Any]:
    envelope = json.loads(bundle)["dsseEnvelope"]
    return dict(json.loads(base64.b64decode(envelope["payload"])))


def verify(bundle: bytes, pem: str, *, payload: bytes | None = None) -> None:
    envelope = json.loads(bundle)["dsseEnvelope"]
    key = serialization.load_pem_public_key(pem.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signed = base64.b64decode(envelope["payload"]) if payload is None else payload
    message = pre_authentication_encoding(envelope["payloadType"], signed)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def test_the_signature_is_p256_over_the_encoded_payload_and_nothing_else() -> None:
    bundle = write_bundle(STATEMENT, key=KEY)
    verify(bundle, KEY.public_pem())
    with pytest.raises(InvalidSignature):
        verify(bundle, P256Key.generate().public_pem())
    with pytest.raises(InvalidSignature):
        verify(bundle, KEY.public_pem(), payload=b"{}")


def test_equal_statements_give_equal_bundles() -> None:
    assert write_bundle(STATEMENT, key=KEY) == write_bundle(STATEMENT, key=KEY)


def test_the_payload_lists_every_file_by_name_under_a_digest_of_them_all() -> None:
    payload = payload_of(write_bundle(STATEMENT, key=KEY))
    resources = payload["predicate"]["resources"]
    assert [(item["name"], item["digest"]) for item in resources] == [
        ("config.json", "b" * 64),
        ("model.safetensors", "a" * 64),
    ]
    together = bytes.fromhex("b" * 64 + "a" * 64)
    (subject,) = payload["subject"]
    assert subject["name"] == "alice/digits@1"
    assert subject["digest"]["sha256"] == hashlib.sha256(together).hexdigest()


def test_only_names_that_no_release_can_hold_are_ignored() -> None:
    serialization_ = payload_of(write_bundle(STATEMENT, key=KEY))["predicate"][
        "serialization"
    ]
    assert serialization_["ignore_paths"] == [
        ".git",
        ".gitattributes",
        ".github",
        ".gitignore",
        "release.json",
        "trust.json",
    ]


def test_the_hint_is_the_digest_of_the_public_key_in_pem() -> None:
    material = json.loads(write_bundle(STATEMENT, key=KEY))["verificationMaterial"]
    hint = hashlib.sha256(KEY.public_pem().encode()).hexdigest()
    assert material["publicKey"]["hint"] == hint


def test_a_saved_key_is_encrypted_owned_and_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "oms.pem"
    KEY.save(path, passphrase=PASSPHRASE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    assert P256Key.load(path, passphrase=PASSPHRASE).public_pem() == KEY.public_pem()
    with pytest.raises(NotPermittedError):
        P256Key.load(path, passphrase=b"not the passphrase")
    with pytest.raises(LocalError):
        KEY.save(path, passphrase=PASSPHRASE)
    with pytest.raises(InvalidSpecError):
        KEY.save(tmp_path / "short.pem", passphrase=b"short")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "oms.pem"
    KEY.save(path, passphrase=PASSPHRASE)
    path.chmod(0o640)
    with pytest.raises(NotPermittedError, match="chmod 600"):
        P256Key.load(path, passphrase=PASSPHRASE)


def test_a_key_of_another_kind_or_curve_is_refused(tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "ed25519.pem", passphrase=PASSPHRASE)
    P256Key(ec.generate_private_key(ec.SECP384R1())).save(
        tmp_path / "p384.pem", passphrase=PASSPHRASE
    )
    for name in ("ed25519.pem", "p384.pem"):
        with pytest.raises(InvalidSpecError, match="P-256"):
            P256Key.load(tmp_path / name, passphrase=PASSPHRASE)


def test_a_plain_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(NotPermittedError, match="encrypted"):
        P256Key.load(path, passphrase=PASSPHRASE)
    path.write_text(KEY.public_pem())
    with pytest.raises(InvalidSpecError, match="this is a public key"):
        P256Key.load(path, passphrase=PASSPHRASE)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(InvalidSpecError, match="longer"):
        P256Key.load(path, passphrase=PASSPHRASE)
    with pytest.raises(LocalError):
        P256Key.load(tmp_path / "none.pem", passphrase=PASSPHRASE)


def test_a_printed_key_shows_no_secret() -> None:
    assert repr(KEY) == "P256Key()"
