"""The online half: the keys that lie on the server, and the roles that they sign.

Their folder is made at the ceremony, on the operator's machine, and goes to the server
with first root and targets; root and targets keys never enter it. Snapshot and
timestamp say which versions belong together, and since when.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from model_zoo.clock import rfc3339
from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError
from model_zoo.files import translate_os_errors, write_beside
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.keys.p256 import P256Key
from model_zoo.keys.pem import OWNER_ONLY
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import new_root, new_targets
from model_zoo.tuf.roles import (
    ROOT,
    SIGNED_AT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    expiry,
    sign,
    to_bytes,
)
from model_zoo.tuf.trusted_keys import KEYS_FILE, TrustedKeys, list_trusted_keys

ROOT_FILE, TARGETS_FILE = "root.json", "targets.json"
PASSPHRASE_FILE = "passphrase"  # noqa: S105  a file's name
LOG = "log"
ONLINE = (SNAPSHOT, TIMESTAMP, LOG)
OMS = "oms"
ORIGIN_HEX = 16


def make_server_folder(
    folder: Path,
    *,
    root_keys: Role,
    targets_keys: Role,
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
    with translate_os_errors(f"cannot make {folder}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            msg = f"{folder} is not empty: a ceremony starts in a new folder"
            raise LocalError(msg)
        online, oms = _make_keys(folder)
        root = new_root(
            {
                ROOT: root_keys,
                TARGETS: targets_keys,
                SNAPSHOT: Role(keys=(online[SNAPSHOT],)),
                TIMESTAMP: Role(keys=(online[TIMESTAMP],)),
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
    return root, targets


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
    with translate_os_errors(f"cannot read {folder / PASSPHRASE_FILE}"):
        return (folder / PASSPHRASE_FILE).read_bytes().strip()


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


def next_snapshot(
    current: Metadata[Snapshot] | None,
    changed: Mapping[str, MetaFile],
    *,
    key: SigningKey,
    now: datetime,
) -> Metadata[Snapshot]:
    """Return the signed snapshot that names ``changed`` beside all that was there.

    A role once named stays for ever: clients refuse a snapshot that drops one.
    """
    version, meta = (
        (0, {})
        if current is None
        else (
            current.signed.version,
            current.signed.meta,
        )
    )
    metadata = Metadata(
        Snapshot(
            version=version + 1,
            expires=expiry(SNAPSHOT, now),
            meta=meta | {f"{name}.json": file for name, file in changed.items()},
        )
    )
    sign(metadata, key)
    return metadata


def next_timestamp(
    version: int,
    snapshot: bytes,
    *,
    snapshot_version: int,
    key: SigningKey,
    now: datetime,
) -> Metadata[Timestamp]:
    """Return the signed timestamp of that version over the snapshot's bytes."""
    metadata = Metadata(
        Timestamp(
            version=version,
            expires=expiry(TIMESTAMP, now),
            snapshot_meta=MetaFile(
                snapshot_version, len(snapshot), {"sha256": sha256_bytes(snapshot)}
            ),
            unrecognized_fields={SIGNED_AT: rfc3339(now)},
        )
    )
    sign(metadata, key)
    return metadata
