"""What a thief can sign with the online keys of a server, and what he cannot."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

from model_zoo.clock import Clock, system_clock
from model_zoo.digests import sha256_bytes
from model_zoo.interop.oms import write_bundle
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.keys.p256 import P256Key
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import BUNDLE_NAME, manifest_of
from model_zoo.statements.intoto import ReleaseStatement, sign_release
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.tuf.online_keys import OMS, passphrase_of
from model_zoo.tuf.publisher_roles import next_snapshot, next_timestamp, release_targets
from model_zoo.tuf.roles import (
    SNAPSHOT,
    TIMESTAMP,
    expiry,
    parse,
    sign,
    target_path,
    to_bytes,
    version_of,
)
from trainer.lab.actors.malicious_mirror import Question, Responder

METADATA = "/tuf/metadata"
T = TypeVar("T", Snapshot, Targets, Timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thief:
    """Online keys in the wrong hands, and the repository that they belong to."""

    snapshot_key: SigningKey
    timestamp_key: SigningKey
    oms_key: P256Key
    upstream: Responder

    @classmethod
    def of(cls, keys: Path, upstream: Responder) -> "Thief":
        """Return who has the trust folder of the server behind ``upstream``."""
        passphrase = passphrase_of(keys)
        snapshot, timestamp = (
            SigningKey.load(keys / f"{name}.pem", passphrase=passphrase)
            for name in (SNAPSHOT, TIMESTAMP)
        )
        return cls(
            snapshot_key=snapshot,
            timestamp_key=timestamp,
            oms_key=P256Key.load(keys / f"{OMS}.pem", passphrase=passphrase),
            upstream=upstream,
        )

    def repository(
        self,
        roles: Mapping[str, bytes] | None = None,
        *,
        dropped: Collection[str] = (),
        version: int | None = None,
        clock: Clock = system_clock,
    ) -> dict[str, bytes]:
        """Return path -> bytes of a snapshot and timestamp that follow the true ones.

        Args:
            roles: role name -> file, to be named beside what is there.
            dropped: roles to leave out.
            version: of both; the next one, if it is not told.
            clock: says when they are signed.
        """
        now, roles = clock(), roles or {}
        stamp = _current(self.upstream, "timestamp.json", Timestamp).signed
        current = current_snapshot(self.upstream)
        for name in dropped:
            del current.signed.meta[f"{name}.json"]
        if version is not None:
            current.signed.version = version - 1
        named = {name: MetaFile(version_of(name, it)) for name, it in roles.items()}
        following = next_snapshot(current, named, key=self.snapshot_key, now=now)
        data = to_bytes(following)
        number = following.signed.version
        timestamp = next_timestamp(
            version or stamp.version + 1,
            data,
            snapshot_version=number,
            key=self.timestamp_key,
            now=now,
        )
        return {
            f"{METADATA}/timestamp.json": to_bytes(timestamp),
            f"{METADATA}/{number}.snapshot.json": data,
            **{
                f"{METADATA}/{version_of(name, it)}.{quote(name)}.json": it
                for name, it in roles.items()
            },
        }


def current_snapshot(upstream: Responder) -> Metadata[Snapshot]:
    """Return the snapshot that the repository behind ``upstream`` shows now."""
    stamp = _current(upstream, "timestamp.json", Timestamp).signed
    return _current(upstream, f"{stamp.snapshot_meta.version}.snapshot.json", Snapshot)


def current_role(upstream: Responder, publisher: str) -> Metadata[Targets]:
    """Return a publisher's role as that snapshot names it."""
    meta = current_snapshot(upstream).signed.meta
    version = meta[f"{publisher}.json"].version
    return _current(upstream, f"{version}.{publisher}.json", Targets)


@dataclass(frozen=True, slots=True)
class ForgedRelease:
    """A role that vouches for files of the adversary's, and the files beside it."""

    role: bytes
    files: dict[str, bytes]


def forged(
    name: ReleaseName,
    folder: Path,
    *,
    current: Metadata[Targets] | None,
    key: SigningKey,
    oms_key: P256Key,
) -> ForgedRelease:
    """Return a next role in which the files in ``folder`` are a release, badly signed.

    Args:
        name: the release that they pretend to be.
        folder: the files.
        current: the publisher's role; None for a first one.
        key: signs role and statement; not, or not alone, what the role demands.
        oms_key: signs the bundle for model_signing; stolen like all online keys.
    """
    statement = ReleaseStatement(name, manifest_of(folder))
    bundle = bundle_bytes(envelope=sign_release(statement, key), provenance=None)
    targets = release_targets(name, statement.manifest, bundle=bundle)
    signed = Targets(expires=expiry(name.publisher, system_clock()))
    if current is not None:
        signed.version = current.signed.version + 1
        signed.targets = dict(current.signed.targets)
    signed.targets |= targets
    role = Metadata(signed)
    sign(role, key)
    where, _, _ = target_path(name, BUNDLE_NAME).rpartition("/")
    api = f"/api/v1/models/{name.publisher}/{name.model}/releases/{name.version}"
    return ForgedRelease(
        to_bytes(role),
        {
            f"/tuf/targets/{where}/{sha256_bytes(bundle)}.{BUNDLE_NAME}": bundle,
            **{
                f"/tuf/targets/{where}/{file.sha256}.{file.name}": (
                    folder / file.name
                ).read_bytes()
                for file in statement.manifest.weights()
            },
            f"{api}/model.sig": write_bundle(statement, key=oms_key),
        },
    )


def _current(upstream: Responder, file: str, kind: type[T]) -> Metadata[T]:
    answer = upstream(Question(method="GET", path=f"{METADATA}/{file}"))
    return parse(answer.whole, kind)
