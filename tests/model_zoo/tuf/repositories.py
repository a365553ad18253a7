"""A small TUF repository: built with tuf.api, broken on purpose, served on a socket."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from model_zoo.tuf.roles import LIFETIMES, PUBLISHER_LIFETIME, WITHDRAWN
from tests.model_zoo.servers import answering, respond

WEIGHTS = b"weights of alice's digits"
WEIGHTS_PATH = "alice/digits/1/weights.safetensors"
NOW = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251  stock clients ask too


@cache
def signer(name: str) -> CryptoSigner:  # noqa: ARG001  the cache knows it by name
    """Return the Ed25519 key called ``name``, the same in all tests of a run."""
    return CryptoSigner.generate_ed25519()


def public(name: str) -> Key:
    """Return the public half, as metadata lists it."""
    return signer(name).public_key


@dataclass
class TufRepository:
    """Metadata that can be edited, and the files that were published of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    roles: dict[str, Metadata[Any]] = field(default_factory=dict)
    signers: dict[str, list[str]] = field(default_factory=dict)

    def publish(self, *names: str) -> None:
        """Sign and store ``names``, then the snapshot and the timestamp over them."""
        for name in names:
            self.store(name)
        snapshot = self.roles["snapshot"].signed
        for name in names:
            if name != "root":
                version = self.roles[name].signed.version
                snapshot.meta[f"{name}.json"] = MetaFile(version)
        self.store("snapshot")
        self.stamp()

    def stamp(self) -> None:
        """Store a timestamp over the snapshot as it is stored."""
        version = self.roles["snapshot"].signed.version
        data = self.files[f"/tuf/metadata/{version}.snapshot.json"]
        meta = MetaFile.from_data(version, data, ["sha256"])
        self.roles["timestamp"].signed.snapshot_meta = meta
        self.store("timestamp")

    def store(self, name: str) -> None:
        """Sign one role with its signers and store it under its version."""
        metadata = self.roles[name]
        metadata.signatures.clear()
        for one in self.signers[name]:
            metadata.sign(signer(one), append=True)
        self.files[self.file(name)] = metadata.to_bytes()

    def file(self, name: str) -> str:
        """Return the path of a role's present version."""
        version = "" if name == "timestamp" else f"{self.roles[name].signed.version}."
        return f"/tuf/metadata/{version}{name}.json"

    def next(self, *names: str) -> None:
        """Count up the versions of ``names``, the snapshot and the timestamp."""
        for name in {*names, "snapshot", "timestamp"}:
            self.roles[name].signed.version += 1

    def publish_next(self, *names: str) -> None:
        """Publish the next version of ``names``."""
        self.next(*names)
        self.publish(*names)

    def add_target(self, role: str, path: str, data: bytes) -> None:
        """List a file in a role and store it under its hash."""
        target = TargetFile.from_data(path, data, ["sha256"])
        self.roles[role].signed.targets[path] = target
        for place in target.get_prefixed_paths():
            self.files[f"/tuf/targets/{place}"] = data

    def delegate(self, role: DelegatedRole, *keys: str, below: str = "targets") -> None:
        """Delegate ``role`` to the keys of that name and make it, empty."""
        top = self.roles[below].signed
        top.delegations = top.delegations or Delegations({}, {})
        top.delegations.roles[role.name] = role
        for key in keys:
            top.add_key(public(key), role.name)
        self.signers[role.name] = list(keys)
        self.roles[role.name] = Metadata(Targets(expires=NOW + PUBLISHER_LIFETIME))


def publisher(name: str, *, threshold: int = 1) -> DelegatedRole:
    """Return the delegation that a publisher of that name gets."""
    return DelegatedRole(name, [], threshold, terminating=True, paths=[f"{name}/*/*/*"])


def good_repository() -> TufRepository:
    """Return a published repository without fault: two roots, alice, bob's bins."""
    repository = TufRepository()
    root = Root(expires=NOW + LIFETIMES["root"], consistent_snapshot=True)
    for one in ("root1", "root2", "root3"):
        root.add_key(public(one), "root")
    root.roles["root"].threshold = 2
    for role, key in (("targets", "targets"), ("snapshot", "on"), ("timestamp", "on")):
        root.add_key(public(key), role)
        repository.signers[role] = [key]
    repository.signers["root"] = ["root1", "root2"]
    repository.roles |= {
        "root": Metadata(root),
        "targets": Metadata(Targets(expires=NOW + LIFETIMES["targets"])),
        "snapshot": Metadata(Snapshot(expires=NOW + LIFETIMES["snapshot"])),
        "timestamp": Metadata(Timestamp(expires=NOW + LIFETIMES["timestamp"])),
    }
    paths = ["alice/old/1/*"]
    repository.delegate(
        DelegatedRole(WITHDRAWN, [], 1, terminating=True, paths=paths), "operator"
    )
    repository.delegate(publisher("alice"), "alice")
    repository.delegate(publisher("bob", threshold=2), "bob1", "bob2")
    bins = [*_add_bins(repository, "bob", "bob1", "bob2")]
    repository.add_target("alice", WEIGHTS_PATH, WEIGHTS)
    repository.publish("root", "targets", WITHDRAWN, "alice", "bob", *bins)
    repository.publish_next("root", "alice")
    return repository


@contextmanager
def serving(
    repository: TufRepository, seen: Callable[[str], None] | None = None
) -> Iterator[str]:
    """Yield the URL of a server of the repository's files, as they are just then."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if seen is not None:
            seen(request.path)
        data = repository.files.get(request.path)
        respond(request, data or b"", status=404 if data is None else 200)

    with answering(answer) as url:
        yield url


def _add_bins(repository: TufRepository, name: str, *keys: str) -> Iterator[str]:
    """Make two bins below a publisher's role, one with a target; yield their names."""
    bins = SuccinctRoles([], len(keys), 1, f"{name}~b")
    role = repository.roles[name].signed
    role.delegations = Delegations({}, succinct_roles=bins)
    for key in keys:
        role.add_key(public(key))
    for bin_name in bins.get_roles():
        expires = NOW + PUBLISHER_LIFETIME
        repository.roles[bin_name] = Metadata(Targets(expires=expires))
        repository.signers[bin_name] = list(keys)
        yield bin_name
    path = f"{name}/m/1/f"
    repository.add_target(bins.get_role_for_target(path), path, b"in a bin")
