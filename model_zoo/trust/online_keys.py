"""The folder that goes to the server: online keys, first root and targets.

Made at the ceremony, on the operator's machine; root and targets keys never enter it.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError
from model_zoo.interop.oms import OmsKey
from model_zoo.key_files import OWNER_ONLY
from model_zoo.keys import PublicKey, SigningKey
from model_zoo.trust.ceremony import RoleKeys, new_root, new_targets
from model_zoo.trust.publishing import target_file
from model_zoo.trust.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    to_bytes,
)
from model_zoo.trust.trusted_keys import TrustedKeys

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


def log_origin(root: Metadata[Root]) -> str:
    """Return the name of the log that belongs to a root, whoever has signed it yet."""
    return f"verified-model-zoo/{sha256_bytes(root.signed_bytes)[:ORIGIN_HEX]}"


def write_first(folder: Path, root: Metadata[Root], targets: Metadata[Targets]) -> None:
    """Write root and targets; ``root.json`` appears last, and whole.

    Raises:
        LocalError: they cannot be written.
    """
    try:
        (folder / TARGETS_FILE).write_bytes(to_bytes(targets))
        draft = folder / f".{ROOT_FILE}"
        draft.write_bytes(to_bytes(root))
        draft.replace(folder / ROOT_FILE)
    except OSError as error:
        msg = f"cannot write in {folder}: {error.strerror}"
        raise LocalError(msg) from error


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


def _make_keys(folder: Path) -> tuple[Mapping[str, PublicKey], OmsKey]:
    path = folder / PASSPHRASE_FILE
    path.touch(mode=OWNER_ONLY, exist_ok=False)
    passphrase = secrets.token_urlsafe(32).encode()
    path.write_bytes(passphrase)
    publics = {}
    for name in ONLINE:
        key = SigningKey.generate()
        key.save(folder / f"{name}.pem", passphrase=passphrase)
        publics[name] = key.public
    oms = OmsKey.generate()
    oms.save(folder / f"{OMS}.pem", passphrase=passphrase)
    return publics, oms
