"""Which role versions the zoo takes: numbered steps, nothing believed unsigned.

ADR 17: whatever is accepted here becomes current in the transaction that checked it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    SuccinctRoles,
    TargetFile,
    Targets,
)

from model_zoo.canonical import JsonObject
from model_zoo.errors import (
    ExpiredMetadataError,
    MalformedDocumentError,
    NotPermittedError,
    ThresholdNotMetError,
)
from model_zoo.tuf.ceremony import require_role_signed
from model_zoo.tuf.roles import (
    PUBLISHER_LIFETIME,
    TARGETS,
    bins_of,
    delegation_of,
    parse,
    version_of,
)
from service.repository import state
from service.repository.losses import require_next

MIN_LIFETIME = timedelta(days=1)
MAX_LIFETIME = 2 * PUBLISHER_LIFETIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The exact difference between a publisher's new roles and those before."""

    add: Mapping[str, TargetFile]
    remove: frozenset[str] = frozenset()


NO_CHANGE = Change(add={})


def role_files(roles: Mapping[str, JsonObject]) -> dict[str, bytes]:
    """Return role name -> file of what a request carries as JSON.

    Raises:
        MalformedDocumentError: it holds what no metadata may, such as a NaN.
    """
    try:
        return {
            name: json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
            for name, value in roles.items()
        }
    except ValueError as error:
        msg = f"role metadata: {error}"
        raise MalformedDocumentError(msg) from error


def versions_of(roles: Mapping[str, bytes]) -> dict[str, int]:
    """Return role name -> version of files that were accepted."""
    return {name: version_of(name, data) for name, data in roles.items()}


def require_roles(
    session: Session,
    publisher: str,
    submitted: Mapping[str, bytes],
    *,
    change: Change,
    now: datetime,
    targets: Targets | None = None,
) -> None:
    """Accept the next version of a publisher's role and bins, wholly signed.

    Raises:
        ThresholdNotMetError: too few of the delegated keys signed.
        ZooError: see ``check_roles``.
    """
    lacking = check_roles(
        session, publisher, submitted, change=change, now=now, targets=targets
    )
    if lacking is not None:
        raise lacking


def check_roles(
    session: Session,
    publisher: str,
    submitted: Mapping[str, bytes],
    *,
    change: Change,
    now: datetime,
    targets: Targets | None = None,
) -> ThresholdNotMetError | None:
    """Accept the next version of a publisher's role and bins, but for signatures.

    Args:
        session: sees the current state and keeps it until the caller commits.
        publisher: whose roles they are.
        submitted: role name -> file.
        change: the difference that the request explains.
        now: expiry is judged at it.
        targets: the top-level targets that will delegate; else the current ones.

    Returns:
        What too few of the delegated keys signed; nothing else is wrong with it, and
        it can wait for the others. None where enough signed.

    Raises:
        NotPermittedError: the operator delegated nothing to that name.
        ThresholdNotMetError: none of the delegated keys signed.
        ConflictError: not built upon the current version.
        VerificationError: it holds what it may not.
    """
    # (1) The operator delegated these paths, and says to which keys.
    above = targets or state.require(session, TARGETS, Targets).signed
    delegation = delegation_of(above, publisher)
    if delegation is None:
        msg = f"{publisher}: the operator has not delegated to that name"
        raise NotPermittedError(msg)
    # (2) Nothing but this publisher's role and bins is in the request.
    bins = bins_of(publisher, delegation.keyids, delegation.threshold)
    _require_own(publisher, submitted, bins)
    # (3) A delegated key signed the role; only then is it looked into.
    files = {name: parse(data, Targets) for name, data in submitted.items()}
    role = files.get(publisher) or _current_role(session, publisher)
    lacking = _lacking(above, {publisher: role})
    # (4) It delegates to nobody, or to its bins under the same keys and threshold.
    has_bins = _require_own_bins(role.signed, bins)
    # (5) One of those keys signed each bin, too.
    lacking += _lacking(role.signed, {n: it for n, it in files.items() if "~" in n})
    # (6) Each file follows the current version and lives long enough.
    before = _current(session, submitted)
    after = _following(session, submitted, files, before, now=now)
    # (7) Each target stands where clients look for it, under the publisher's paths.
    _require_places(before, after, delegation, bins=bins if has_bins else None)
    # (8) What changed is what the request explains.
    _require_change(before, after, change)
    # (9) Where the role changed, the bins that stay as they are still fit it.
    if publisher in submitted:
        _require_bins_fit(session, submitted, role.signed, bins)
    # (10) Whether enough of the keys signed is the caller's to decide upon.
    return lacking[0] if lacking else None


def _require_own(
    publisher: str, submitted: Mapping[str, bytes], bins: SuccinctRoles
) -> None:
    stray = set(submitted) - {publisher, *bins.get_roles()}
    if stray or not submitted:
        msg = f"{publisher}: expected its own role and bins, found {sorted(stray)}"
        raise MalformedDocumentError(msg)


def _current_role(session: Session, publisher: str) -> Metadata[Targets]:
    current = state.find(session, publisher, Targets)
    if current is None:
        msg = f"{publisher}: bins without a role above them"
        raise MalformedDocumentError(msg)
    return current


def _lacking(
    delegator: Targets, files: Mapping[str, Metadata[Targets]]
) -> list[ThresholdNotMetError]:
    """Return an error for each of ``files`` that some, but too few, of its keys signed.

    Raises:
        ThresholdNotMetError: one of them is signed by none of its keys.
    """
    found = []
    for name, metadata in files.items():
        try:
            require_role_signed(delegator, name, metadata)
        except ThresholdNotMetError as error:
            if not error.valid:
                raise
            found.append(error)
    return found


def _require_own_bins(role: Targets, bins: SuccinctRoles) -> bool:
    delegations = role.delegations
    if delegations is None:
        return False
    keys = Delegations(delegations.keys, succinct_roles=bins)
    if delegations != keys or set(delegations.keys) != set(bins.keyids) or role.targets:
        msg = "a publisher's role delegates to nobody but its own bins, alike in keys"
        raise MalformedDocumentError(msg)
    return True


def _require_bins_fit(
    session: Session,
    submitted: Mapping[str, bytes],
    role: Targets,
    bins: SuccinctRoles,
) -> None:
    """Accept a role that keeps its bins: all there, and signed under it."""
    for name in bins.get_roles():
        current = state.find(session, name, Targets)
        if role.delegations is None and (name in submitted or current is not None):
            msg = f"{name}: this role forgets its bins, and what they vouch for"
            raise MalformedDocumentError(msg)
        if role.delegations is None or name in submitted:
            continue
        if current is None:
            msg = f"{name}: this bin of the role is missing"
            raise MalformedDocumentError(msg)
        if _lacking(role, {name: current}):
            msg = f"{name}: this bin needs more signatures now: sign it anew as well"
            raise MalformedDocumentError(msg)


def _current(session: Session, names: Iterable[str]) -> dict[str, JsonObject]:
    """Return role -> what was signed, as JSON, for those of ``names`` that exist."""
    found = {name: state.newest(session, name) for name in names}
    return {
        name: json.loads(data)["signed"]
        for name, data in found.items()
        if data is not None
    }


def _following(
    session: Session,
    submitted: Mapping[str, bytes],
    files: Mapping[str, Metadata[Targets]],
    before: Mapping[str, JsonObject],
    *,
    now: datetime,
) -> dict[str, Targets]:
    after = {}
    for name, metadata in files.items():
        require_next(
            session,
            name,
            submitted[name],
            version=metadata.signed.version,
            current=before[name]["version"] if name in before else 0,
        )
        require_lifetime(name, metadata.signed.expires, now=now)
        after[name] = metadata.signed
    return after


def require_lifetime(name: str, expires: datetime, *, now: datetime) -> None:
    """Accept an expiry that leaves clients time and does not last for ever.

    Raises:
        ExpiredMetadataError: it does not.
    """
    if not now + MIN_LIFETIME <= expires <= now + MAX_LIFETIME:
        msg = (
            f"{name}: expires at {expires:%Y-%m-%d}, expected between one day and "
            f"{MAX_LIFETIME.days} days from now"
        )
        raise ExpiredMetadataError(msg)


def _require_places(
    before: Mapping[str, JsonObject],
    after: Mapping[str, Targets],
    delegation: DelegatedRole,
    *,
    bins: SuccinctRoles | None,
) -> None:
    for name, role in after.items():
        known = before[name]["targets"] if name in before else {}
        for path in role.targets.keys() - known.keys():  # the others were looked at
            in_place = bins is None or bins.get_role_for_target(path) == name
            if not (in_place and delegation.is_delegated_path(path)):
                msg = f"{name}: {path[:200]!a} does not belong there"
                raise MalformedDocumentError(msg)


def _require_change(
    before: Mapping[str, JsonObject], after: Mapping[str, Targets], change: Change
) -> None:
    found = {
        path: it.to_dict()
        for role in after.values()
        for path, it in role.targets.items()
    }
    expected = {
        path: it
        for role in before.values()
        for path, it in role["targets"].items()
        if path not in change.remove
    }
    expected |= {path: it.to_dict() for path, it in change.add.items()}
    if found != expected:
        paths = sorted(
            path
            for path in {*found, *expected}
            if found.get(path) != expected.get(path)
        )
        msg = f"the role differs from what was asked for at {paths[0][:200]!a}"
        raise MalformedDocumentError(msg)
