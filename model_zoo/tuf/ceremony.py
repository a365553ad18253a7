"""What is signed offline: root, and the top-level targets that name the publishers.

Every function takes metadata and returns the next version of it, still to be signed:
keys and files are the command's business. A root counts when its own threshold and the
threshold of the root before it are met.

ADR 17.
"""

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets

from model_zoo.errors import ConflictError, InvalidSpecError, ThresholdNotMetError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import ReleaseName, check_new_publisher
from model_zoo.statements.dsse import Role
from model_zoo.tuf.roles import (
    DEVELOPMENT,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    WITHDRAWALS,
    WITHDRAWN,
    YANKED,
    YANKED_PATHS,
    delegation_of,
    expiry,
    publisher_paths,
    signed_bytes,
    target_path,
    tuf_key,
)

MAX_REASON_CHARACTERS = 1000
MIN_ROOT_SIGNATURES = 2


def new_root(
    roles: Mapping[str, Role], *, now: datetime, development: bool = False
) -> Metadata[Root]:
    """Return version 1 of a root, unsigned.

    Args:
        roles: the keys of each of TOP_LEVEL.
        now: when it starts to count.
        development: mark it as one that clients take on loopback only.

    Raises:
        InvalidSpecError: a role is missing, or an online key is an offline one too.
    """
    if set(roles) != set(TOP_LEVEL):
        msg = f"a root names the keys of {', '.join(TOP_LEVEL)}"
        raise InvalidSpecError(msg)
    root = Root(expires=expiry(ROOT, now), consistent_snapshot=True)
    if development:
        root.unrecognized_fields[DEVELOPMENT] = True
    _set_keys(root, roles)
    return Metadata(root)


def next_root(
    current: Metadata[Root], changes: Mapping[str, Role], *, now: datetime
) -> Metadata[Root]:
    """Return the root after ``current`` with other keys for some roles, unsigned.

    Without changes it only lives longer.

    Raises:
        InvalidSpecError: an online key is an offline one too.
    """
    root = copy.deepcopy(current.signed)
    root.version += 1
    root.expires = expiry(ROOT, now)
    _set_keys(root, changes)
    return Metadata(root)


def require_signed(
    root: Metadata[Root], *, previous: Metadata[Root] | None = None
) -> None:
    """Accept ``root`` only if its own keys, and those before it, signed enough.

    Raises:
        ThresholdNotMetError: they did not.
        ConflictError: it is not the version that follows ``previous``.
    """
    if previous is not None and root.signed.version != previous.signed.version + 1:
        msg = (
            f"expected root version {previous.signed.version + 1}, "
            f"found {root.signed.version}"
        )
        raise ConflictError(msg)
    for delegator in (previous or root, root):
        require_role_signed(delegator.signed, ROOT, root)


def require_role_signed(
    delegator: Root | Targets, role: str, metadata: Metadata[Root] | Metadata[Targets]
) -> None:
    """Accept ``metadata`` only if enough of the role's keys signed it.

    Raises:
        ThresholdNotMetError: fewer did, or nobody may.
    """
    try:
        result = delegator.get_verification_result(
            role, signed_bytes(metadata.signed), metadata.signatures
        )
    except (ValueError, RepositoryError) as error:
        raise ThresholdNotMetError.of(role, valid=0, threshold=1) from error
    if not result:
        raise ThresholdNotMetError.of(
            role, valid=len(result.signed), threshold=result.threshold
        )


def new_targets(yanked_key: PublicKey, *, now: datetime) -> Metadata[Targets]:
    """Return version 1 of the top-level targets, unsigned: no publisher yet.

    Args:
        yanked_key: the service's online key, for the role that names withdrawn
            weights by digest.
        now: when it starts to count.
    """
    targets = Targets(expires=expiry(TARGETS, now), delegations=Delegations({}, {}))
    role = DelegatedRole(YANKED, [], 1, terminating=True, paths=[YANKED_PATHS])
    _delegations(targets)[YANKED] = role
    targets.add_key(tuf_key(yanked_key), YANKED)
    return Metadata(targets)


def next_targets(current: Metadata[Targets], *, now: datetime) -> Metadata[Targets]:
    """Return the version after ``current``, the same but unsigned."""
    targets = copy.deepcopy(current.signed)
    targets.version += 1
    targets.expires = expiry(TARGETS, now)
    return Metadata(targets)


def delegate(targets: Targets, publisher: str, keys: Role) -> None:
    """Give ``publisher`` its paths and keys, or other keys where it has them.

    Raises:
        InvalidSpecError: no name for a publisher, or a reserved one that is new.
    """
    before = delegation_of(targets, publisher)
    if before is None:
        check_new_publisher(publisher)
    role = DelegatedRole(
        publisher,
        [],
        keys.threshold,
        terminating=True,
        paths=publisher_paths(publisher),
    )
    for keyid in () if before is None else tuple(before.keyids):
        targets.revoke_key(keyid, publisher)
    _delegations(targets)[publisher] = role
    for key in keys.keys:
        targets.add_key(tuf_key(key), publisher)


def withdraw(targets: Targets, releases: Sequence[ReleaseName], *, keys: Role) -> None:
    """Hide ``releases`` from every TUF client, for good.

    Their paths go to a first, terminating delegation whose role is empty; the search
    for a target ends there.
    """
    before = delegation_of(targets, WITHDRAWN)
    paths = [] if before is None else list(before.paths or ())
    paths += [target_path(release, "*") for release in releases]
    role = DelegatedRole(
        WITHDRAWN, [], keys.threshold, terminating=True, paths=sorted(set(paths))
    )
    roles = _delegations(targets)
    others = {name: it for name, it in roles.items() if name != WITHDRAWN}
    roles.clear()
    roles.update({WITHDRAWN: role, **others})
    for key in keys.keys:
        targets.add_key(tuf_key(key), WITHDRAWN)


def rekey_yanked(targets: Targets, key: PublicKey) -> None:
    """Give the online role of withdrawn digests to the server's new snapshot key."""
    before = delegation_of(targets, YANKED)
    for keyid in () if before is None else tuple(before.keyids):
        targets.revoke_key(keyid, YANKED)
    targets.add_key(tuf_key(key), YANKED)


def next_withdrawn(
    current: Metadata[Targets] | None,
    reasons: Mapping[ReleaseName, str],
    *,
    now: datetime,
) -> Metadata[Targets]:
    """Return the empty role with ``reasons`` added to those it tells, unsigned."""
    if current is None:
        role = Targets()
        role.unrecognized_fields[WITHDRAWALS] = {}
    else:
        role = next_targets(current, now=now).signed
    role.expires = expiry(WITHDRAWN, now)
    listed = role.unrecognized_fields[WITHDRAWALS]
    listed.update(
        {str(name): checked_reason(reason) for name, reason in reasons.items()}
    )
    return Metadata(role)


def checked_reason(reason: str) -> str:
    """Return why something was withdrawn, if it can be shown to everybody.

    Raises:
        InvalidSpecError: it is empty, too long, or more than one line of text.
    """
    is_short = reason.strip() and len(reason) <= MAX_REASON_CHARACTERS
    if not is_short or not reason.isprintable():
        msg = f"say why, in one line of 1 to {MAX_REASON_CHARACTERS} characters"
        raise InvalidSpecError(msg)
    return reason


def _set_keys(root: Root, roles: Mapping[str, Role]) -> None:
    if ROOT in roles and roles[ROOT].threshold < MIN_ROOT_SIGNATURES:
        msg = (
            f"a root needs at least {MIN_ROOT_SIGNATURES} signatures: "
            "one key can be stolen"
        )
        raise InvalidSpecError(msg)
    for name, keys in roles.items():
        for keyid in tuple(root.roles[name].keyids):
            root.revoke_key(keyid, name)
        for key in keys.keys:
            root.add_key(tuf_key(key), name)
        root.roles[name].threshold = keys.threshold
    offline = {*root.roles[ROOT].keyids, *root.roles[TARGETS].keyids}
    online = {*root.roles[SNAPSHOT].keyids, *root.roles[TIMESTAMP].keyids}
    if offline & online:
        msg = "a key of root or targets must not lie on the server: use another online"
        raise InvalidSpecError(msg)


def _delegations(targets: Targets) -> dict[str, DelegatedRole]:
    if targets.delegations is None or targets.delegations.roles is None:
        msg = "top-level targets without delegations"
        raise InvalidSpecError(msg)
    return targets.delegations.roles
