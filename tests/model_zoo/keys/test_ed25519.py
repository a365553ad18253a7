import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer._key import SSlibKey

from model_zoo.errors import InvalidSpecError, LocalError, NotPermittedError
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.keys.pem import MAX_PEM_BYTES

PASSPHRASE = b"correct horse battery"
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alice.pem"


def test_a_keyid_is_that_of_securesystemslib() -> None:
    for _ in range(5):
        key = SigningKey.generate().public
        theirs = SSlibKey.from_crypto(
            ed25519.Ed25519PublicKey.from_public_bytes(key.raw)
        )
        assert key.keyid == theirs.keyid


@given(message=st.binary(), other=st.binary(max_size=80))
def test_a_key_accepts_its_own_signature_and_never_raises(
    message: bytes, other: bytes
) -> None:
    key = SigningKey.generate()
    assert key.public.signed(message, key.sign(message))
    assert not key.public.signed(message, other)
    assert not key.public.signed(message + b"!", key.sign(message))


def test_a_public_key_written_and_read_is_the_same_key() -> None:
    key = SigningKey.generate().public
    assert PublicKey.from_pem(key.to_pem()) == key


def test_a_signing_key_on_disk_is_encrypted_and_its_owner_s_only(path: Path) -> None:
    key = SigningKey.generate()
    key.save(path, passphrase=PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    loaded = SigningKey.load(path, passphrase=PASSPHRASE)
    assert loaded.public == key.public


def test_a_signing_key_is_never_printed() -> None:
    assert repr(SigningKey.generate()) == "SigningKey()"


def test_an_earlier_key_is_never_overwritten(path: Path) -> None:
    SigningKey.generate().save(path, passphrase=PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(LocalError, match="exists"):
        SigningKey.generate().save(path, passphrase=PASSPHRASE)
    assert path.read_bytes() == before


def test_a_short_passphrase_is_refused_and_writes_nothing(path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="at least 12"):
        SigningKey.generate().save(path, passphrase=b"short")
    assert not path.exists()


def test_a_wrong_passphrase_is_refused(path: Path) -> None:
    SigningKey.generate().save(path, passphrase=PASSPHRASE)
    with pytest.raises(NotPermittedError, match="wrong passphrase"):
        SigningKey.load(path, passphrase=b"incorrect horse")


def test_a_key_that_others_may_read_is_refused(path: Path) -> None:
    SigningKey.generate().save(path, passphrase=PASSPHRASE)
    path.chmod(0o640)
    with pytest.raises(NotPermittedError, match="chmod 600"):
        SigningKey.load(path, passphrase=PASSPHRASE)


def test_a_key_in_the_clear_is_refused(path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(NotPermittedError, match="expected an encrypted"):
        SigningKey.load(path, passphrase=PASSPHRASE)


def test_another_kind_of_private_key_is_refused(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(PASSPHRASE)
    path.write_bytes(key.private_bytes(PEM, PKCS8, encryption))
    path.chmod(0o600)
    with pytest.raises(InvalidSpecError, match="expected an Ed25519 key"):
        SigningKey.load(path, passphrase=PASSPHRASE)


def pem_of(key: ec.EllipticCurvePublicKey | x25519.X25519PublicKey) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(PEM, spki).decode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", id="no"
        ),
        pytest.param("\u20ac", id="not ASCII"),
        pytest.param(
            pem_of(ec.generate_private_key(ec.SECP256R1()).public_key()), id="EC"
        ),
        pytest.param(
            pem_of(x25519.X25519PrivateKey.generate().public_key()), id="X25519"
        ),
        pytest.param("x" * (MAX_PEM_BYTES + 1), id="too long"),
    ],
)
def test_what_is_no_ed25519_public_key_is_refused(text: str, path: Path) -> None:
    with pytest.raises(InvalidSpecError):
        PublicKey.from_pem(text)
    path.write_text(text)
    with pytest.raises(InvalidSpecError):
        PublicKey.load(path)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_key_or_a_told_refusal(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        PublicKey.from_pem(text)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="32 bytes"):
        PublicKey(bytes(31))


def test_a_missing_key_file_is_a_local_error(path: Path) -> None:
    with pytest.raises(LocalError, match=r"alice\.pem"):
        PublicKey.load(path)
