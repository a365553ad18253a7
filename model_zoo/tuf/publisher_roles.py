"""A publisher's roles: the next version of them, built on the publisher's machine.

It starts from what TUF verified there. Which versions belong together, and since when,
the service signs: see ``model_zoo.tuf.online``.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    SuccinctRoles,
    TargetFile,
    Targets,
)

from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.manifest import Manifest
from model_zoo.tuf.roles import (
    SPLIT_AFTER,
    bins_of,
    expiry,
    sign,
    target_path,
    to_bytes,
    tuf_key,
)

LoadRole = Callable[[str], Metadata[Targets]]


@dataclass(slots=True)
class PublisherRoles:
    """A publisher's role as verified here, its bins loaded when they are needed.

    Attributes:
        delegation: what the operator delegated: name, keyids, threshold.
        keys: keyid -> key, as the operator listed them.
        role: the current version; None before the first release.
        load_bin: returns the current version of a bin, verified.
    """

    delegation: DelegatedRole
    keys: Mapping[str, Key]
    role: Metadata[Targets] | None
    load_bin: LoadRole
    bins: dict[str, Metadata[Targets]] = field(default_factory=dict)

    def bin(self, name: str) -> Metadata[Targets]:
        """Return the current version of the bin called ``name``."""
        if name not in self.bins:
            self.bins[name] = self.load_bin(name)
        return self.bins[name]

    def find(self, path: str) -> TargetFile | None:
        """Return what the role, or the bin into which the path falls, says of it."""
        if self.role is None:
            return None
        role = self.role.signed
        if self.spread is not None:
            role = self.bin(self.spread.get_role_for_target(path)).signed
        return role.targets.get(path)

    @property
    def spread(self) -> SuccinctRoles | None:
        """The bins over which the current role has spread its targets, if it has."""
        above = None if self.role is None else self.role.signed.delegations
        return None if above is None else above.succinct_roles

    def targets(self) -> Mapping[str, TargetFile]:
        """Return path -> file of all that the role vouches for, its bins included.

        Raises:
            MalformedDocumentError: its bins are not those that publishers here have.
        """
        if self.role is None:
            return {}
        found, wanted = self.spread, _bins(self.delegation)
        if found is None:
            return self.role.signed.targets
        if (found.bit_length, found.name_prefix) != (
            wanted.bit_length,
            wanted.name_prefix,
        ):
            msg = f"{self.delegation.name}: its bins are not those of a publisher here"
            raise MalformedDocumentError(msg)
        return _all_targets(self)


def edited(
    roles: PublisherRoles,
    *,
    add: Mapping[str, TargetFile],
    remove: Iterable[str] = (),
    now: datetime,
) -> dict[str, Metadata[Targets]]:
    """Return the next version of every role that changes, unsigned.

    The bins inherit keys and threshold of the publisher's delegation; when the
    operator has changed those, every bin is written again under the new ones.

    Args:
        roles: the current state, verified.
        add: target path -> file.
        remove: target paths to drop.
        now: when the new versions start to count.
    """
    removed = frozenset(remove)
    if roles.role is None or not _has_bins(roles.role):
        return _edited_flat(roles, add=add, remove=removed, now=now)
    return _edited_bins(roles, roles.role, add=add, remove=removed, now=now)


def renewed(roles: PublisherRoles, *, now: datetime) -> dict[str, Metadata[Targets]]:
    """Return the next version of the publisher's role and all its bins, unsigned.

    For a role that would expire, or whose keys the operator has changed.
    """
    if roles.role is None:
        msg = "there is nothing to renew: this publisher has no release"
        raise InvalidSpecError(msg)
    if not _has_bins(roles.role):
        return edited(roles, add={}, now=now)
    return _rebinned(roles, _all_targets(roles), now=now)


def spread_out(
    roles: PublisherRoles,
    *,
    now: datetime,
    targets: Mapping[str, TargetFile] | None = None,
) -> dict[str, Metadata[Targets]]:
    """Return the next version of a role and all its bins, which it has from now on.

    Args:
        roles: the current state, verified.
        now: when the new versions start to count.
        targets: what they vouch for; else what they vouched for before.
    """
    mine = roles.targets() if targets is None else targets
    return _rebinned(roles, mine, now=now)


def delegated_to(
    roles: PublisherRoles, *keys: PublicKey, threshold: int = 1
) -> PublisherRoles:
    """Return ``roles`` as if the operator had delegated to ``keys`` already.

    What is built from them and signed by enough of them can be handed in together with
    the targets that make it so: at no moment is the publisher without a valid role.
    """
    before = roles.delegation
    delegation = DelegatedRole(
        before.name,
        [key.keyid for key in keys],
        threshold,
        before.terminating,
        paths=before.paths,
    )
    listed = {key.keyid: tuf_key(key) for key in keys}
    return replace(roles, delegation=delegation, keys=listed)


def sign_roles(
    roles: Mapping[str, Metadata[Targets]], key: SigningKey
) -> dict[str, bytes]:
    """Return the files of ``roles``, each signed with ``key`` beside what is there."""
    for metadata in roles.values():
        sign(metadata, key)
    return {name: to_bytes(metadata) for name, metadata in roles.items()}


def target_file(path: str, *, size_bytes: int, sha256: str) -> TargetFile:
    """Return what a role says of one file."""
    return TargetFile(size_bytes, {"sha256": sha256}, path)


def release_targets(
    name: ReleaseName, manifest: Manifest, *, bundle: bytes
) -> dict[str, TargetFile]:
    """Return the targets of a release: its ``release.json``, and its weights.

    The bundle lists every file by digest; the weights stand beside it so that a stock
    TUF client, which does not read bundles, verifies what matters most.
    """
    weights = manifest.weights()
    files = [(file.name, file.size_bytes, file.sha256) for file in weights]
    files.append((BUNDLE_NAME, len(bundle), sha256_bytes(bundle)))
    return {
        path: target_file(path, size_bytes=size_bytes, sha256=sha256)
        for path, size_bytes, sha256 in (
            (target_path(name, file), size_bytes, sha256)
            for file, size_bytes, sha256 in files
        )
    }


def _edited_flat(
    roles: PublisherRoles,
    *,
    add: Mapping[str, TargetFile],
    remove: frozenset[str],
    now: datetime,
) -> dict[str, Metadata[Targets]]:
    before = {} if roles.role is None else roles.role.signed.targets
    targets = _merged(before, add=add, remove=remove)
    if len(targets) > SPLIT_AFTER:
        return _rebinned(roles, targets, now=now)
    return {roles.delegation.name: _next(roles.role, targets, now=now)}


def _edited_bins(
    roles: PublisherRoles,
    role: Metadata[Targets],
    *,
    add: Mapping[str, TargetFile],
    remove: frozenset[str],
    now: datetime,
) -> dict[str, Metadata[Targets]]:
    wanted = _bins(roles.delegation)
    delegations = role.signed.delegations
    if delegations is None or delegations.succinct_roles != wanted:
        targets = _merged(_all_targets(roles), add=add, remove=remove)
        return _rebinned(roles, targets, now=now)
    spread = _spread(add, wanted)
    names = {name for name, mine in spread.items() if mine}
    names |= {wanted.get_role_for_target(path) for path in remove}
    changed = {}
    for name in sorted(names):
        bin_ = roles.bin(name)
        targets = _merged(bin_.signed.targets, add=spread[name], remove=remove)
        changed[name] = _next(bin_, targets, now=now)
    return changed


def _rebinned(
    roles: PublisherRoles, targets: Mapping[str, TargetFile], *, now: datetime
) -> dict[str, Metadata[Targets]]:
    """Return role and bins with ``targets`` spread over the bins."""
    wanted = _bins(roles.delegation)
    had_bins = roles.role is not None and _has_bins(roles.role)
    changed = {
        name: _next(roles.bin(name) if had_bins else None, mine, now=now)
        for name, mine in _spread(targets, wanted).items()
    }
    above = _next(roles.role, {}, now=now)
    keys = {keyid: roles.keys[keyid] for keyid in wanted.keyids}
    above.signed.delegations = Delegations(keys, succinct_roles=wanted)
    return {roles.delegation.name: above, **changed}


def _spread(
    targets: Mapping[str, TargetFile], bins: SuccinctRoles
) -> dict[str, dict[str, TargetFile]]:
    """Return bin -> the targets that fall into it, of every bin."""
    spread: dict[str, dict[str, TargetFile]] = {name: {} for name in bins.get_roles()}
    for path, file in targets.items():
        spread[bins.get_role_for_target(path)][path] = file
    return spread


def _bins(delegation: DelegatedRole) -> SuccinctRoles:
    return bins_of(delegation.name, delegation.keyids, delegation.threshold)


def _has_bins(role: Metadata[Targets]) -> bool:
    delegations = role.signed.delegations
    return delegations is not None and delegations.succinct_roles is not None


def _all_targets(roles: PublisherRoles) -> dict[str, TargetFile]:
    names = _bins(roles.delegation).get_roles()
    return {
        path: file
        for name in names
        for path, file in roles.bin(name).signed.targets.items()
    }


def _merged(
    targets: Mapping[str, TargetFile],
    *,
    add: Mapping[str, TargetFile],
    remove: frozenset[str],
) -> dict[str, TargetFile]:
    kept = {path: file for path, file in targets.items() if path not in remove}
    return kept | dict(add)


def _next(
    current: Metadata[Targets] | None,
    targets: Mapping[str, TargetFile],
    *,
    now: datetime,
) -> Metadata[Targets]:
    if current is None:
        return Metadata(Targets(expires=expiry("", now), targets=dict(targets)))
    role = copy.copy(current.signed)
    role.version = current.signed.version + 1
    role.targets = dict(targets)
    role.expires = expiry("", now)
    return Metadata(role)
