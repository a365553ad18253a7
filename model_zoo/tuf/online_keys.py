"""The folder that goes to the server: online keys, first root and targets.

Made at the ceremony, on the operator's machine; root and targets keys never enter it.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError, LocalError, MalformedDocumentError
from model_zoo.files import write_beside
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.keys.p256 import P256Key, public_pem
from model_zoo.keys.pem import OWNER_ONLY
from model_zoo.tuf.ceremony import RoleKeys, new_root, new_targets
from model_zoo.tuf.publisher_roles import target_file
from model_zoo.tuf.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    to_bytes,
)
from model_zoo.tuf.trusted_keys import TrustedKeys

ROOT_FILE, TARGETS_FILE, KEYS_FILE = "root.json", "targets.json", "trusted-keys.json"
PASSPHRASE_FILE = "passphrase"  # noqa: S105  a file's name
LOG = "log"
ONLINE = (SNAPSHOT, TIMESTAMP, LOG)
OMS = "oms"
ORIGIN_HEX = 16


def make_server_folder(
    folder: Path,
    *,
    root_keys: RoleKeys,
    targets_keys: RoleKeys,
    now: datetime,
    development: bool = False,
) -> tuple[Metadata[Root], Metadata[Targets]]:
    """Make the online keys and return first root and targets, still unsigned.

    The folder gets the keys, their passphrase and ``trusted-keys.json``; root and
    targets are for the caller to sign and to write there.

    Raises:
        InvalidSpecError: a root that one key alone can sign.
        LocalError: the folder is not empty, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            msg = f"{folder} is not empty: a ceremony starts in a new folder"
            raise LocalError(msg)
        online, oms = _make_keys(folder)
        root = new_root(
            {
                ROOT: root_keys,
                TARGETS: targets_keys,
                SNAPSHOT: RoleKeys(keys=(online[SNAPSHOT],)),
                TIMESTAMP: RoleKeys(keys=(online[TIMESTAMP],)),
            },
            now=now,
            development=development,
        )
        trusted = TrustedKeys(
            log_origin=log_origin(root),
            log=(online[LOG].to_pem(),),
            oms=(oms.public_pem(),),
        ).to_bytes()
        targets = new_targets(online[SNAPSHOT], now=now)
        list_trusted_keys(targets.signed, trusted)
        (folder / KEYS_FILE).write_bytes(trusted)
    except OSError as error:
        msg = f"cannot make {folder}: {error.strerror}"
        raise LocalError(msg) from error
    return root, targets


def list_trusted_keys(targets: Targets, data: bytes) -> None:
    """Let ``targets`` name the trusted keys in ``data``, and no others."""
    targets.targets[TRUSTED_KEYS] = target_file(
        TRUSTED_KEYS, size_bytes=len(data), sha256=sha256_bytes(data)
    )


def named_trusted_keys(targets: Targets, data: bytes) -> TrustedKeys:
    """Return the trusted keys in ``data``, if they are those that ``targets`` name.

    Raises:
        MalformedDocumentError: they are not, or are no such document.
    """
    named = targets.targets.get(TRUSTED_KEYS)
    if (
        named is None
        or named.length != len(data)
        or named.hashes.get("sha256") != sha256_bytes(data)
    ):
        msg = f"{TRUSTED_KEYS}: not the file that the targets name"
        raise MalformedDocumentError(msg)
    return TrustedKeys.read(data)


def with_online_keys(
    trusted: TrustedKeys, *, log_key: PublicKey | None = None, oms: str | None = None
) -> TrustedKeys:
    """Return trusted keys in which a server's log or P-256 key (PEM) is another.

    The log's key retires: what people remember stays theirs to compare with. The P-256
    key is struck out, since whoever checks a bundle remembers nothing.

    Raises:
        InvalidSpecError: the log's key has retired already, or oms is no P-256 key.
    """
    changes: dict[str, tuple[str, ...]] = {}
    if log_key is not None:
        pem = log_key.to_pem()
        if pem in trusted.log_retired:
            msg = "this key has signed the log before and was replaced: make a new one"
            raise InvalidSpecError(msg)
        gone = (it for it in trusted.log if it != pem)
        changes = {"log": (pem,), "log_retired": (*trusted.log_retired, *gone)}
    if oms is not None:
        changes["oms"] = (public_pem(oms),)
    return TrustedKeys(**{**trusted.model_dump(), **changes})


def trusted_keys_file(version: int) -> str:
    """Return how the trusted keys of targets of a later version are called in a folder.

    Each has a name of its own, since ``trusted-keys.json`` goes with the first.
    """
    return f"{version}.{KEYS_FILE}"


def log_origin(root: Metadata[Root]) -> str:
    """Return the name of the log that belongs to a root, whoever has signed it yet."""
    return f"verified-model-zoo/{sha256_bytes(root.signed_bytes)[:ORIGIN_HEX]}"


def write_first(folder: Path, root: Metadata[Root], targets: Metadata[Targets]) -> None:
    """Write root and targets; ``root.json`` appears last, and whole.

    Raises:
        LocalError: they cannot be written.
    """
    write_beside(folder / TARGETS_FILE, to_bytes(targets))
    write_beside(folder / ROOT_FILE, to_bytes(root))


def passphrase_of(folder: Path) -> bytes:
    """Return the passphrase of the online keys in ``folder``.

    Raises:
        LocalError: it cannot be read.
    """
    try:
        return (folder / PASSPHRASE_FILE).read_bytes().strip()
    except OSError as error:
        msg = f"cannot read {folder / PASSPHRASE_FILE}: {error.strerror}"
        raise LocalError(msg) from error


def _make_keys(folder: Path) -> tuple[Mapping[str, PublicKey], P256Key]:
    path = folder / PASSPHRASE_FILE
    path.touch(mode=OWNER_ONLY, exist_ok=False)
    passphrase = secrets.token_urlsafe(32).encode()
    path.write_bytes(passphrase)
    publics = {}
    for name in ONLINE:
        key = SigningKey.generate()
        key.save(folder / f"{name}.pem", passphrase=passphrase)
        publics[name] = key.public
    oms = P256Key.generate()
    oms.save(folder / f"{OMS}.pem", passphrase=passphrase)
    return publics, oms
