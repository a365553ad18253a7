"""A TUF repository as nothing but files, and a walk over them by a plain server."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets

from benchmarks.repository.relay import Relay, relayed
from model_zoo.canonical import JsonObject
from model_zoo.clock import system_clock
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import new_root
from model_zoo.tuf.online import next_snapshot, next_timestamp
from model_zoo.tuf.publisher_roles import sign_roles
from model_zoo.tuf.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    parse,
    sign,
    to_bytes,
)
from model_zoo.tuf.updater import refreshed
from model_zoo.tuf.view import METADATA_PATH

ANSWER_SECONDS = 20.0


@dataclass(slots=True)
class StaticZoo:
    """Files under a folder, as a store and a cache network would serve them.

    Snapshot and timestamp come from the service's own code; roles that nobody asks
    for stand in the snapshot only.
    """

    folder: Path
    now: datetime
    keys: Mapping[str, SigningKey] = field(
        default_factory=lambda: {name: SigningKey.generate() for name in TOP_LEVEL}
    )
    snapshot: bytes = b""
    root: bytes = b""

    def __post_init__(self) -> None:
        (self.folder / METADATA_PATH).mkdir(parents=True)
        lists = {name: Role(keys=(key.public,)) for name, key in self.keys.items()}
        holders = (self.keys[ROOT], SigningKey.generate())
        lists[ROOT] = Role(keys=tuple(key.public for key in holders), threshold=2)
        root = new_root(lists, now=self.now)
        sign(root, *holders)
        self.root = to_bytes(root)
        self._write("1.root.json", self.root)

    def publish(
        self,
        roles: Mapping[str, Metadata[Targets]],
        key: SigningKey,
        *,
        others: Mapping[str, MetaFile] | None = None,
    ) -> JsonObject:
        """Make ``roles`` current; return how large and slow snapshot and timestamp are.

        Args:
            roles: name -> role, still to be signed.
            key: signs them; for ``targets`` the key of that role is taken.
            others: roles that the snapshot names and nobody will ask for.
        """
        changed = dict(others or {})
        for name, role in roles.items():
            signer = self.keys[TARGETS] if name == TARGETS else key
            data = sign_roles({name: role}, signer)[name]
            self._write(f"{role.signed.version}.{name}.json", data)
            changed[name] = MetaFile(role.signed.version)
        began = time.perf_counter()
        following = next_snapshot(
            parse(self.snapshot, Snapshot) if self.snapshot else None,
            changed,
            key=self.keys[SNAPSHOT],
            now=self.now,
        )
        data, version = to_bytes(following), following.signed.version
        stamp = next_timestamp(
            version,
            data,
            snapshot_version=version,
            key=self.keys[TIMESTAMP],
            now=self.now,
        )
        seconds = time.perf_counter() - began
        self.snapshot = data
        self._write(f"{version}.snapshot.json", data)
        self._write("timestamp.json", to_bytes(stamp))
        return {"snapshot_bytes": len(data), "snapshot_seconds": seconds}

    def _write(self, name: str, data: bytes) -> None:
        (self.folder / METADATA_PATH / name).write_bytes(data)


@contextmanager
def served_as_files(folder: Path) -> Iterator[Relay]:
    """Serve a folder with the standard library's server, behind the counting relay."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(  # noqa: S603  our own words
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            line = "" if server.stdout is None else server.stdout.readline()
            port = line.partition(" port ")[2].split()[0]
            with relayed(f"http://127.0.0.1:{port}") as relay:
                yield relay
        finally:
            server.kill()


def walk(zoo: StaticZoo, relay: Relay, paths: list[str], *, cache: Path) -> JsonObject:
    """Return what looking up each of ``paths`` cost a client with that cache."""
    relay.taken()
    began = time.perf_counter()
    server = Server(relay.url)
    with refreshed(server, zoo.root, cache=cache, now=system_clock()) as view:
        for path in paths:
            if view.target(path) is None:
                msg = f"{path} is not there"
                raise RuntimeError(msg)
    return {"seconds": time.perf_counter() - began, **relay.taken()}


@contextmanager
def fresh_cache() -> Iterator[Path]:
    """Yield the cache of a client that has seen nothing."""
    with TemporaryDirectory(prefix="zoo-bench-") as folder:
        yield Path(folder)
