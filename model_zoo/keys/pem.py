"""Private keys on disk: encrypted PEM, never readable by anyone but the owner.

ADR 7.
"""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from model_zoo.errors import InvalidSpecError, NotPermittedError
from model_zoo.files import translate_os_errors

MAX_PEM_BYTES = 4096
MIN_PASSPHRASE_BYTES = 12
"""Long, since PKCS #8 as ``cryptography`` writes it stretches with 2048 rounds only."""
OWNER_ONLY = 0o600
PUBLIC_MARK = b" PUBLIC KEY-----"
PRIVATE_MARK = b" PRIVATE KEY-----"
"""How the first line of a PEM file ends, whatever kind of key it holds."""


def write_private_key(path: Path, key: PrivateKeyTypes, *, passphrase: bytes) -> None:
    """Write ``key`` to a new file that only its owner may read.

    Raises:
        InvalidSpecError: the passphrase is shorter than MIN_PASSPHRASE_BYTES.
        LocalError: the file exists already or cannot be written.
    """
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        msg = f"a passphrase has at least {MIN_PASSPHRASE_BYTES} characters"
        raise InvalidSpecError(msg)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    with translate_os_errors(f"cannot write key {path}"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())


def read_private_key(path: Path, *, passphrase: bytes) -> PrivateKeyTypes:
    """Return the key in the encrypted PEM file at ``path``, of whatever kind it is.

    Raises:
        NotPermittedError: others may read the file, it is not encrypted, or the
            passphrase is wrong.
        InvalidSpecError: it is a public key, or too long to be a key.
        LocalError: it cannot be read.
    """
    data = read_encrypted_pem(path)
    try:
        return serialization.load_pem_private_key(data, passphrase)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        msg = f"{path}: wrong passphrase, or not a private key"
        raise NotPermittedError(msg) from error


def read_encrypted_pem(path: Path) -> bytes:
    """Return the encrypted private key at ``path`` as it lies there; needs no secret.

    Raises:
        NotPermittedError: others may read the file, or it is not encrypted.
        InvalidSpecError: it is a public key, or too long to be a key.
        LocalError: it cannot be read.
    """
    data, mode = _read(path)
    if PUBLIC_MARK in data:
        msg = (
            f"{path}: this is a public key; signing needs the private key it belongs to"
        )
        raise InvalidSpecError(msg)
    if mode & ~OWNER_ONLY & 0o777:
        msg = f"{path} may be read by others; run: chmod 600 {path}"
        raise NotPermittedError(msg)
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" not in data:
        msg = f"{path}: expected an encrypted private key in PEM"
        raise NotPermittedError(msg)
    return data


def read_pem(path: Path) -> bytes:
    """Return the bytes of the PEM file at ``path``.

    Raises:
        InvalidSpecError: it is too long to be a key.
        LocalError: it cannot be read.
    """
    data, _ = _read(path)
    return data


def _read(path: Path) -> tuple[bytes, int]:
    """Return the bytes of a PEM file and the mode of that very file."""
    with translate_os_errors(f"cannot read key {path}"), path.open("rb") as file:
        data = file.read(MAX_PEM_BYTES + 1)
        mode = os.fstat(file.fileno()).st_mode
    if len(data) > MAX_PEM_BYTES:
        msg = f"{path}: longer than {MAX_PEM_BYTES} bytes, not a key"
        raise InvalidSpecError(msg)
    return data, mode
