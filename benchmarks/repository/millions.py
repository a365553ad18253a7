"""Three million releases of a hundred thousand publishers, in real metadata.

Top-level targets, branches and snapshot are built whole and signed by the code of the
service; of the publishers' roles those are written that a client asks for. The files
are served by the standard library's server, and our client, whose walk is
python-tuf's, follows them over a socket.
"""

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.metadata import Metadata, MetaFile, TargetFile, Targets

from benchmarks.measuring import summaries
from benchmarks.repository.layouts import (
    Branch,
    branches,
    delegating,
    publisher_names,
    to_publishers,
)
from benchmarks.repository.seeding import WEIGHTS, WEIGHTS_BYTES
from benchmarks.repository.static_zoo import (
    StaticZoo,
    fresh_cache,
    served_as_files,
    walk,
)
from model_zoo.canonical import JsonObject
from model_zoo.clock import system_clock
from model_zoo.digests import sha256_bytes
from model_zoo.errors import LengthMismatchError, LocalError
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.tuf.publisher_roles import PublisherRoles, edited, target_file
from model_zoo.tuf.roles import TARGETS, delegation_of, sign, to_bytes

PUBLISHERS, RELEASES_EACH = 100_000, 30
QUICK_PUBLISHERS = 300
SUB_REPOSITORIES = 1024
BRANCH_NAMES, LIMB_NAMES = 48, 2048
"""At most so many publishers a branch and a limb: about n ** (1/3) and n ** (2/3)."""
SAMPLE = 10
LARGE = (30, 1_000, 10_000, 100_000)
BUNDLE_BYTES = 900
_STRIDE = 7919


@dataclass(frozen=True, slots=True)
class _World:
    """Who publishes, with which keys, and when that is."""

    names: Sequence[str]
    keys: Mapping[str, SigningKey]
    operator: SigningKey
    now: datetime

    def public(self) -> dict[str, PublicKey]:
        """Return name -> public key."""
        return {name: key.public for name, key in self.keys.items()}


def measure_scale(*, quick: bool) -> JsonObject:
    """Return bytes a client and publishes a second of each layout, and the limits."""
    names = publisher_names(QUICK_PUBLISHERS if quick else PUBLISHERS)
    world = _World(
        names=names,
        keys={name: SigningKey.generate() for name in names},
        operator=SigningKey.generate(),
        now=system_clock(),
    )
    few = replace(world, names=names[:: min(SUB_REPOSITORIES, len(names) // 2)])
    return {
        "publishers": len(names),
        "releases": len(names) * RELEASES_EACH,
        "layouts": {
            "flat": _measured(world, _flat(world)),
            "branches": _measured(world, _tree(world)),
            f"one of {SUB_REPOSITORIES} sub-repositories": _measured(few, _flat(few)),
        },
        "a merkle path instead of the snapshot": _merkle_path_bytes(names),
        "one publisher": {
            str(count): _large(world, count) for count in LARGE[: 2 if quick else None]
        },
    }


def _flat(world: _World) -> dict[str, Metadata[Targets]]:
    """Return the layout of today: top-level targets list every publisher."""
    return {TARGETS: to_publishers(world.names, world.public(), now=world.now)}


def _tree(world: _World) -> dict[str, Metadata[Targets]]:
    """Return targets -> limbs -> branches -> publishers, by the names' beginnings."""
    keys, operator = world.public(), world.operator.public
    limbs = branches(world.names, most=LIMB_NAMES)
    roles = {TARGETS: _to_branches("zoo~", limbs, operator, now=world.now)}
    for number, limb in enumerate(limbs):
        name = f"zoo~{number}"
        found = branches(limb.names, most=BRANCH_NAMES)
        roles[name] = _to_branches(f"{name}.", found, operator, now=world.now)
        for at, branch in enumerate(found):
            role = to_publishers(branch.names, keys, now=world.now)
            roles[f"{name}.{at}"] = role
    return roles


def _to_branches(
    prefix: str, found: Sequence[Branch], key: PublicKey, *, now: datetime
) -> Metadata[Targets]:
    """Return the role that hands each branch its patterns, all under one key."""
    below = {f"{prefix}{at}": (it.patterns, key) for at, it in enumerate(found)}
    return delegating(below, now=now)


def _measured(world: _World, layout: Mapping[str, Metadata[Targets]]) -> JsonObject:
    """Write a layout as files and walk to a sample of publishers, cold and warm."""
    names = world.names
    asked = [names[at * _STRIDE % len(names)] for at in range(SAMPLE)]
    with TemporaryDirectory(prefix="zoo-bench-") as folder:
        zoo = StaticZoo(Path(folder), world.now)
        others = {name: MetaFile(RELEASES_EACH) for name in names}
        publishing = zoo.publish(layout, world.operator, others=others)
        for name in asked:
            roles = _publisher(world, layout, name, RELEASES_EACH)
            for role in roles.values():
                role.signed.version = RELEASES_EACH + 1
            publishing = zoo.publish(roles, world.keys[name])
        walks = _walks(zoo, world, layout, asked)
    each = publishing["snapshot_seconds"]
    return {
        "roles": len(names) + len(layout),
        "top-level targets, bytes": len(to_bytes(layout[TARGETS])),
        "snapshot, bytes": publishing["snapshot_bytes"],
        "snapshot, gzip bytes": len(gzip.compress(zoo.snapshot)),
        "snapshots a second, one writer": round(1 / each, 1),
        **walks,
    }


def _walks(
    zoo: StaticZoo,
    world: _World,
    layout: Mapping[str, Metadata[Targets]],
    asked: Sequence[str],
) -> JsonObject:
    cold, warm = [], []
    with served_as_files(zoo.folder) as relay:
        for name in asked:
            path = _paths(name, 0)[0]
            with fresh_cache() as cache:
                try:
                    cold.append(walk(zoo, relay, [path], cache=cache))
                except LengthMismatchError as error:
                    return {"refused by every client": str(error)}
                roles = _publisher(world, layout, name, RELEASES_EACH + 1)
                version = RELEASES_EACH + 2
                roles[name].signed.version = version
                zoo.publish(roles, world.keys[name])
                warm.append(walk(zoo, relay, [path], cache=cache))
    return {"cold": summaries(cold), "warm, the same publisher": summaries(warm)}


def _publisher(
    world: _World, layout: Mapping[str, Metadata[Targets]], name: str, releases: int
) -> dict[str, Metadata[Targets]]:
    """Return a publisher's roles with so many releases, by the code he runs."""
    for above in layout.values():
        delegation = delegation_of(above.signed, name)
        if delegation is not None and above.signed.delegations is not None:
            nothing = PublisherRoles(
                delegation=delegation,
                keys=above.signed.delegations.keys,
                role=None,
                load_bin=_no_bin,
            )
            add = _targets(name, releases)
            return edited(nothing, add=add, now=world.now)
    msg = f"nobody delegates to {name}"
    raise LocalError(msg)


def _targets(name: str, releases: int) -> dict[str, TargetFile]:
    sizes = {BUNDLE_NAME: BUNDLE_BYTES, WEIGHTS: WEIGHTS_BYTES}
    return {
        path: target_file(
            path,
            size_bytes=sizes[path.rpartition("/")[2]],
            sha256=sha256_bytes(path.encode()),
        )
        for number in range(releases)
        for path in _paths(name, number)
    }


def _paths(name: str, number: int) -> tuple[str, str]:
    folder = f"{name}/model-{number:04d}/1"
    return f"{folder}/{BUNDLE_NAME}", f"{folder}/{WEIGHTS}"


def _large(world: _World, releases: int) -> JsonObject:
    """Return what the roles of one publisher weigh, however many releases he has."""
    name = world.names[0]
    few = replace(world, names=(name,))
    roles = _publisher(few, _flat(few), name, releases)
    for role in roles.values():
        sign(role, world.keys[name])
    sizes = {role: len(to_bytes(it)) for role, it in roles.items()}
    own = sizes.pop(name)
    return {"role_bytes": own, "largest_bin_bytes": max(sizes.values(), default=0)}


def _merkle_path_bytes(names: Sequence[str]) -> int:
    """Return what TAP 16 sends for one role, where all others hide behind hashes.

    A draft that no stock client follows: the leaf, and a hash of each level.
    """
    levels = math.ceil(math.log2(len(names)))
    path = {str(level): sha256_bytes(bytes([level])) for level in range(levels)}
    leaf = {"name": f"{names[0]}.json", "version": RELEASES_EACH}
    turns = dict.fromkeys(path, 1)
    proof = {"leaf_contents": leaf, "merkle_path": path, "path_directions": turns}
    return len(json.dumps(proof, separators=(",", ":")))


def _no_bin(name: str) -> Metadata[Targets]:
    msg = f"{name}: there is no bin before the first release"
    raise LocalError(msg)
