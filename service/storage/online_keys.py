"""The keys that lie on the server, and the root that says what each may sign.

Online are snapshot, timestamp, log and the P-256 key of the compatibility bundles.
Root and targets are not, but for a development root, which a service makes for itself
and which every client refuses beyond loopback.

ADR 17: which keys are online, and what each may sign.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError
from model_zoo.files import drafted_name
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.keys.p256 import P256Key
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import require_role_signed, require_signed
from model_zoo.tuf.online import (
    OMS,
    ONLINE,
    PASSPHRASE_FILE,
    ROOT_FILE,
    TARGETS_FILE,
    log_origin,
    make_server_folder,
    passphrase_of,
    write_first,
)
from model_zoo.tuf.roles import (
    TARGETS,
    TRUSTED_KEYS,
    is_development,
    parse,
    sign,
)
from model_zoo.tuf.trusted_keys import KEYS_FILE
from service.storage.blobs import translate_errors

log = logging.getLogger(__name__)

DEVELOPMENT_ROOT_KEYS = ("root-1", "root-2", "root-3")
DEVELOPMENT_THRESHOLD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineKeys:
    """What the service signs with, and the first files of its repository.

    Attributes:
        snapshot_key: also signs the role that lists withdrawn weights by digest.
        timestamp_key: signs how fresh the repository is.
        log_key: signs the transparency log's checkpoints.
        log_origin: the log's name in each of them.
        oms_key: signs bundles for OpenSSF Model Signing's verifiers.
        targets_key: of a development root only.
        folder: where they lie, and where the next root is put to be taken over.
        root: version 1, as users pin it.
        targets: version 1 of the top-level targets.
        trusted_keys: the target of that name.
    """

    snapshot_key: SigningKey = field(repr=False)
    timestamp_key: SigningKey = field(repr=False)
    log_key: SigningKey = field(repr=False)
    log_origin: str
    oms_key: P256Key = field(repr=False)
    targets_key: SigningKey | None = field(repr=False)
    folder: Path
    root: bytes
    targets: bytes
    trusted_keys: bytes

    @property
    def is_development(self) -> bool:
        """Whether every key lies here, so that nothing is proved to anybody else."""
        return self.targets_key is not None


def open_keys(folder: Path, *, now: datetime) -> OnlineKeys:
    """Return the keys in ``folder``; an empty one gets a development root.

    Raises:
        LocalError: the folder cannot be used or is not whole.
        VerificationError: root or targets in it are not signed as they must be.
    """
    with translate_errors(f"cannot keep keys in {folder}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / ROOT_FILE).exists():
            make_development_root(folder, now=now)
            log.warning(
                "made a DEVELOPMENT trust root, %s: all its keys lie on this disk and "
                "clients believe it on this machine only; for a real one see: "
                "zoo trust init",
                folder / ROOT_FILE,
            )
        root, targets, trusted = (
            (folder / name).read_bytes()
            for name in (ROOT_FILE, TARGETS_FILE, KEYS_FILE)
        )
    passphrase = passphrase_of(folder)
    snapshot, timestamp, log_key = (
        SigningKey.load(folder / f"{name}.pem", passphrase=passphrase)
        for name in ONLINE
    )
    pinned = parse(root, Root)
    require_signed(pinned)
    first = parse(targets, Targets)
    require_role_signed(pinned.signed, TARGETS, first)
    _require_named(folder, first.signed, trusted)
    return OnlineKeys(
        snapshot_key=snapshot,
        timestamp_key=timestamp,
        log_key=log_key,
        log_origin=log_origin(pinned),
        oms_key=P256Key.load(folder / f"{OMS}.pem", passphrase=passphrase),
        targets_key=_targets_key(folder, pinned.signed, passphrase=passphrase),
        folder=folder,
        root=root,
        targets=targets,
        trusted_keys=trusted,
    )


def make_development_root(folder: Path, *, now: datetime) -> None:
    """Make a root with all its keys in ``folder``; ``root.json`` appears last."""
    _clear(folder)
    holders = {
        name: SigningKey.generate() for name in (*DEVELOPMENT_ROOT_KEYS, TARGETS)
    }
    roots = [holders[name] for name in DEVELOPMENT_ROOT_KEYS]
    root, targets = make_server_folder(
        folder,
        root_keys=Role(
            keys=tuple(key.public for key in roots), threshold=DEVELOPMENT_THRESHOLD
        ),
        targets_keys=Role(keys=(holders[TARGETS].public,)),
        now=now,
        development=True,
    )
    passphrase = passphrase_of(folder)
    for name, key in holders.items():
        key.save(folder / f"{name}.pem", passphrase=passphrase)
    sign(root, *roots)
    sign(targets, holders[TARGETS])
    write_first(folder, root, targets)


def _require_named(folder: Path, targets: Targets, trusted: bytes) -> None:
    named = targets.targets.get(TRUSTED_KEYS)
    if named is None or named.hashes.get("sha256") != sha256_bytes(trusted):
        msg = f"{folder / KEYS_FILE} is not the file that {TARGETS_FILE} names"
        raise LocalError(msg)


def _clear(folder: Path) -> None:
    """Remove what a killed first start left: without root.json nobody pinned it."""
    ours = {f"{name}.pem" for name in (*ONLINE, OMS, *DEVELOPMENT_ROOT_KEYS, TARGETS)}
    ours |= {PASSPHRASE_FILE, TARGETS_FILE, KEYS_FILE, ROOT_FILE}
    left = list(folder.iterdir())
    others = sorted({drafted_name(path) for path in left} - ours)
    if others:
        msg = f"{folder} holds {others[0]} and no {ROOT_FILE}: not a folder of keys"
        raise LocalError(msg)
    for path in left:
        path.unlink()


def _targets_key(folder: Path, root: Root, *, passphrase: bytes) -> SigningKey | None:
    path = folder / f"{TARGETS}.pem"
    if is_development(root):
        return SigningKey.load(path, passphrase=passphrase)
    if path.exists():
        msg = f"{path}: the targets key must not lie on the server; take it away"
        raise LocalError(msg)
    return None
