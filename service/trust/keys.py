"""The keys that lie on the server, and the root that says what each may sign.

Online are snapshot, timestamp, log and the P-256 key of the compatibility bundles.
Root and targets are not, but for a development root, which a service makes for itself
and which every client refuses beyond loopback.
"""

import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.interop.oms import OmsKey
from model_zoo.keys import OWNER_ONLY, PublicKey, SigningKey
from model_zoo.trust.ceremony import (
    RoleKeys,
    new_root,
    new_targets,
    require_role_signed,
    require_signed,
)
from model_zoo.trust.publishing import target_file
from model_zoo.trust.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    is_development,
    parse,
    sign,
    to_bytes,
)
from model_zoo.trust.trusted_keys import TrustedKeys
from service.storage import told_as_local_error

log = logging.getLogger(__name__)

ROOT_FILE, TARGETS_FILE, KEYS_FILE = "root.json", "targets.json", "trusted-keys.json"
PASSPHRASE_FILE = "passphrase"  # noqa: S105  a file's name
ONLINE = (SNAPSHOT, TIMESTAMP, "log")
OMS = "oms"
DEVELOPMENT_ROOT_KEYS = ("root-1", "root-2", "root-3")
DEVELOPMENT_THRESHOLD = 2
ORIGIN_HEX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustKeys:
    """What the service signs with, and the first files of its repository.

    Attributes:
        snapshot_key: also signs the role that lists withdrawn weights by digest.
        timestamp_key: signs how fresh the repository is.
        log_key: signs the transparency log's checkpoints.
        log_origin: the log's name in each of them.
        oms_key: signs bundles for OpenSSF Model Signing's verifiers.
        targets_key: of a development root only.
        root: version 1, as users pin it.
        targets: version 1 of the top-level targets.
        trusted_keys: the target of that name.
    """

    snapshot_key: SigningKey = field(repr=False)
    timestamp_key: SigningKey = field(repr=False)
    log_key: SigningKey = field(repr=False)
    log_origin: str
    oms_key: OmsKey = field(repr=False)
    targets_key: SigningKey | None = field(repr=False)
    root: bytes
    targets: bytes
    trusted_keys: bytes

    @property
    def is_development(self) -> bool:
        """Whether every key lies here, so that nothing is proved to anybody else."""
        return self.targets_key is not None


def open_keys(folder: Path, *, now: datetime) -> TrustKeys:
    """Return the keys in ``folder``; an empty one gets a development root.

    Raises:
        LocalError: the folder cannot be used or is not whole.
        VerificationError: root or targets in it are not signed as they must be.
    """
    with told_as_local_error(f"cannot keep keys in {folder}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / ROOT_FILE).exists():
            make_development_root(folder, now=now)
            log.warning(
                "made a DEVELOPMENT trust root in %s: all its keys lie on this disk. "
                "Clients believe it on this machine only. For a real zoo see: "
                "zoo trust init",
                folder,
            )
        passphrase = (folder / PASSPHRASE_FILE).read_bytes().strip()
        files = [
            (folder / name).read_bytes()
            for name in (ROOT_FILE, TARGETS_FILE, KEYS_FILE)
        ]
    online = [
        SigningKey.load(folder / f"{name}.pem", passphrase=passphrase)
        for name in ONLINE
    ]
    keys = TrustKeys(
        snapshot_key=online[0],
        timestamp_key=online[1],
        log_key=online[2],
        log_origin=log_origin(files[0]),
        oms_key=OmsKey.load(folder / f"{OMS}.pem", passphrase=passphrase),
        targets_key=_development_targets_key(folder, files[0], passphrase=passphrase),
        root=files[0],
        targets=files[1],
        trusted_keys=files[2],
    )
    _require_whole(keys)
    return keys


def log_origin(root: bytes) -> str:
    """Return the name of the log that belongs to a root."""
    return f"verified-model-zoo/{sha256_bytes(root)[:ORIGIN_HEX]}"


def make_online_keys(folder: Path) -> dict[str, PublicKey]:
    """Make the service's keys in ``folder``, encrypted; return their public halves.

    Raises:
        LocalError: a key is there already, or cannot be written.
    """
    passphrase = _make_passphrase(folder)
    publics = {}
    for name in ONLINE:
        key = SigningKey.generate()
        key.save(folder / f"{name}.pem", passphrase=passphrase)
        publics[name] = key.public
    OmsKey.generate().save(folder / f"{OMS}.pem", passphrase=passphrase)
    return publics


def first_targets(
    folder: Path, *, online: dict[str, PublicKey], root: bytes, now: datetime
) -> tuple[Metadata[Targets], bytes]:
    """Return version 1 of the targets, unsigned, and the trusted keys it lists."""
    passphrase = (folder / PASSPHRASE_FILE).read_bytes().strip()
    oms = OmsKey.load(folder / f"{OMS}.pem", passphrase=passphrase)
    trusted = TrustedKeys(
        log_origin=log_origin(root),
        log=(online["log"].to_pem(),),
        oms=(oms.public_pem(),),
    ).to_bytes()
    targets = new_targets(online[SNAPSHOT], now=now)
    targets.signed.targets[TRUSTED_KEYS] = target_file(
        TRUSTED_KEYS, size_bytes=len(trusted), sha256=sha256_bytes(trusted)
    )
    return targets, trusted


def make_development_root(folder: Path, *, now: datetime) -> None:
    """Make a root with all its keys in ``folder``; ``root.json`` appears last."""
    for left in folder.iterdir():
        left.unlink()  # of a start that was killed: without root.json nobody pinned it
    online = make_online_keys(folder)
    passphrase = (folder / PASSPHRASE_FILE).read_bytes().strip()
    offline = {
        name: SigningKey.generate() for name in (*DEVELOPMENT_ROOT_KEYS, TARGETS)
    }
    for name, key in offline.items():
        key.save(folder / f"{name}.pem", passphrase=passphrase)
    holders = [offline[name] for name in DEVELOPMENT_ROOT_KEYS]
    root = new_root(
        {
            ROOT: RoleKeys(
                keys=tuple(key.public for key in holders),
                threshold=DEVELOPMENT_THRESHOLD,
            ),
            TARGETS: RoleKeys(keys=(offline[TARGETS].public,)),
            SNAPSHOT: RoleKeys(keys=(online[SNAPSHOT],)),
            TIMESTAMP: RoleKeys(keys=(online[TIMESTAMP],)),
        },
        now=now,
        development=True,
    )
    sign(root, *holders)
    data = to_bytes(root)
    targets, trusted = first_targets(folder, online=online, root=data, now=now)
    sign(targets, offline[TARGETS])
    (folder / KEYS_FILE).write_bytes(trusted)
    (folder / TARGETS_FILE).write_bytes(to_bytes(targets))
    draft = folder / f".{ROOT_FILE}"
    draft.write_bytes(data)
    draft.replace(folder / ROOT_FILE)


def _make_passphrase(folder: Path) -> bytes:
    path = folder / PASSPHRASE_FILE
    passphrase = secrets.token_urlsafe(32).encode()
    path.touch(mode=OWNER_ONLY, exist_ok=False)
    path.write_bytes(passphrase)
    return passphrase


def _development_targets_key(
    folder: Path, root: bytes, *, passphrase: bytes
) -> SigningKey | None:
    path = folder / f"{TARGETS}.pem"
    if not is_development(parse(root, Root).signed):
        if path.exists():
            msg = f"{path}: the targets key must not lie on the server; take it away"
            raise LocalError(msg)
        return None
    return SigningKey.load(path, passphrase=passphrase)


def _require_whole(keys: TrustKeys) -> None:
    """Check what is first served, and that these are the keys it names."""
    root = parse(keys.root, Root)
    require_signed(root)
    require_role_signed(root.signed, TARGETS, parse(keys.targets, Targets))
    for name, key in (
        (SNAPSHOT, keys.snapshot_key),
        (TIMESTAMP, keys.timestamp_key),
    ):
        if key.public.keyid not in root.signed.roles[name].keyids:
            msg = f"the {name} key on this server is not one that root.json lists"
            raise InvalidSpecError(msg)
