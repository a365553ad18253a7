"""What offline keys decide: root, publishers, trusted keys, withdrawals.

ADR 17: each step is one transaction; ADR 21: two may withdraw, each by his own role.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy.orm import Session
from tuf.api.metadata import DelegatedRole, Root, Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import MalformedDocumentError, NotPermittedError
from model_zoo.names import ReleaseName, check_new_publisher
from model_zoo.transparency.tlog import LogEntry
from model_zoo.tuf.ceremony import (
    checked_reason,
    require_role_signed,
    require_signed,
)
from model_zoo.tuf.revocations import YANK_NAME, YankNotice
from model_zoo.tuf.roles import (
    OPERATOR,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    WITHDRAWALS,
    WITHDRAWN,
    YANKED,
    delegation_of,
    keys_of,
    parse,
    publisher_paths,
    target_path,
)
from service.context import Context
from service.database.tables import PublisherRow, WithdrawalRow
from service.repository import state
from service.repository.commit import commit, entry, keep_target
from service.repository.index import indexed, notice_of
from service.repository.keys import keep_trusted_keys, unlisted
from service.repository.losses import require_next, require_not_other
from service.repository.validation import (
    NO_CHANGE,
    require_lifetime,
    require_roles,
    versions_of,
)


def is_operators(roles: Iterable[str]) -> bool:
    """Whether the operator's offline keys decide over ``roles``: a root, or targets."""
    return not {ROOT, TARGETS}.isdisjoint(roles)


def submit(
    context: Context, roles: Mapping[str, bytes], *, files: Mapping[str, bytes]
) -> dict[str, int]:
    """Make a root or targets current; return role -> version.

    A root comes alone. Targets may bring what must change with them.

    Raises:
        VerificationError: a role cannot be believed or holds what it may not.
        ConflictError: it is not built upon the current version.
    """
    with context.database.writing() as session:
        if ROOT not in roles:
            accept_targets(session, context, roles, files=files)
        elif len(roles) > 1:
            msg = "a root is handed in alone"
            raise MalformedDocumentError(msg)
        else:
            accept_root(session, context, roles[ROOT])
    return versions_of(roles)


def accept_root(session: Session, context: Context, data: bytes) -> None:
    """Make the next root current, in the caller's transaction.

    Raises:
        ThresholdNotMetError: too few of its keys, or of those before it, signed.
        ConflictError: it is not the next version.
        NotPermittedError: it takes the online keys from the keys this server has.
    """
    # (1) The threshold of the root before it, and its own.
    current = state.require(session, ROOT, Root)
    root = parse(data, Root)
    require_signed(root, previous=current)
    require_not_other(session, ROOT, data, version=root.signed.version)
    # (2) It lives long enough, and keeps the file names that clients know.
    if not root.signed.consistent_snapshot:
        msg = "this root turns consistent snapshots off: file names would be others"
        raise MalformedDocumentError(msg)
    require_lifetime(ROOT, root.signed.expires, now=context.now())
    # (3) This server can go on: snapshot and timestamp are signed with keys it has.
    for role, key in (
        (SNAPSHOT, context.keys.snapshot_key),
        (TIMESTAMP, context.keys.timestamp_key),
    ):
        if key.public.keyid not in root.signed.roles[role].keyids:
            msg = (
                f"this root gives {role} to other keys than the server's: start the "
                "server with the new keys, and the root beside them"
            )
            raise NotPermittedError(msg)
    # (4) The targets that are current are signed under it.
    targets = state.require(session, TARGETS, Targets)
    require_role_signed(root.signed, TARGETS, targets)
    commit(session, context, {ROOT: data}, entries=[entry("key", ROOT, data)])


def accept_targets(
    session: Session,
    context: Context,
    submitted: Mapping[str, bytes],
    *,
    files: Mapping[str, bytes],
) -> None:
    """Make the next top-level targets current, with the roles that go with them.

    Args:
        session: the caller commits.
        context: keys and clock.
        submitted: ``targets``, and ``zoo~withdrawn`` or publishers' roles that must
            change in the same step because their keys did.
        files: the targets of its own that are new.

    Raises:
        ThresholdNotMetError: too few of the delegated keys signed one of them.
        ConflictError: one of them is not the next version.
        VerificationError: it holds what it may not, or drops what it must keep.
    """
    current = state.require(session, TARGETS, Targets).signed
    root = state.require(session, ROOT, Root).signed
    # (1) It may follow the current one under the root.
    new = require_next_targets(
        session, submitted[TARGETS], root=root, files=files, now=context.now()
    )
    # (2) This server can go on: it has the keys that these targets give to it.
    if delegation_of(current, YANKED) != delegation_of(new, YANKED):
        msg = f"{YANKED} is signed online: these targets give it to other keys"
        raise MalformedDocumentError(msg)
    wrong = unlisted(context, state.trusted_keys_of(session, new))
    if wrong is not None:
        raise NotPermittedError(wrong)
    # (3) The roles that change with it, and those that do not, fit to it.
    others = {name: it for name, it in submitted.items() if name != TARGETS}
    withdrawn, entries = follow_targets(session, context, new, others)
    yanked = indexed(session, context, withdrawn) if withdrawn else {}
    commit(session, context, {**submitted, **yanked}, entries=entries)


def follow_targets(
    session: Session, context: Context, new: Targets, others: Mapping[str, bytes]
) -> tuple[list[YankNotice], list[LogEntry]]:
    """Bring the tables in line with next targets that were accepted.

    Args:
        session: the caller commits.
        context: keys and clock.
        new: the targets.
        others: name -> file of the roles that change in the same step.

    Returns:
        The withdrawals of this step, for the index, and the log's entries.

    Raises:
        ThresholdNotMetError: too few of the delegated keys signed a role.
        ConflictError: a role is not the next version.
        VerificationError: it holds what it may not, or drops what it must keep.
    """
    current = state.require(session, TARGETS, Targets).signed
    # (1) Roles that change in this step follow their rules under the new keys.
    reasons = _require_withdrawn(session, new, others.get(WITHDRAWN))
    _require_publishers(session, new, others, now=context.now())
    # (2) Every other publisher's role is signed under the keys it has now.
    _require_still_signed(session, new, {*others, YANKED})
    _synchronise(session, context, new)
    withdrawn = _withdraw(session, context, reasons)
    entries = [_log_entry(notice) for notice in withdrawn] + _key_changes(current, new)
    return withdrawn, entries


def require_next_targets(
    session: Session,
    data: bytes,
    *,
    root: Root,
    files: Mapping[str, bytes],
    now: datetime,
) -> Targets:
    """Return the next top-level targets, and keep the trusted keys that they name.

    Raises:
        ThresholdNotMetError: too few of the root's targets keys signed.
        ConflictError: not the next version.
        MalformedDocumentError: they drop a role, give a publisher the paths of others,
            or name trusted keys that are not in ``files`` or may not follow.
        InvalidSpecError: a delegation's name can be no publisher's, or is new and
            reserved.
    """
    current = state.require(session, TARGETS, Targets).signed
    # (1) The root's targets keys signed it; it follows the current one and lives.
    new = parse(data, Targets)
    require_role_signed(root, TARGETS, new)
    require_next(
        session, TARGETS, data, version=new.signed.version, current=current.version
    )
    require_lifetime(TARGETS, new.signed.expires, now=now)
    # (2) No role is dropped: clients would refuse the snapshot.
    _require_roles_kept(current, new.signed)
    # (3) Its own targets are the trusted keys, and their bytes are here.
    keep_trusted_keys(session, new.signed, files)
    return new.signed


def _require_roles_kept(current: Targets, new: Targets) -> None:
    before, after = _delegated(current), _delegated(new)
    dropped = sorted(set(before) - set(after))
    if dropped:
        msg = f"these targets drop {dropped[0]}: a role once delegated stays"
        raise MalformedDocumentError(msg)
    for name, role in after.items():
        if name in {WITHDRAWN, YANKED}:
            continue  # no publisher's: they have rules of their own
        if name not in before:
            check_new_publisher(name)
        if role.paths != publisher_paths(name) or not role.terminating:
            msg = f"{name}: expected a terminating delegation of {name}/*/*/*"
            raise MalformedDocumentError(msg)


def _delegated(targets: Targets) -> dict[str, DelegatedRole]:
    delegations = targets.delegations
    roles = None if delegations is None else delegations.roles
    return {} if roles is None else dict(roles)


def _require_publishers(
    session: Session, new: Targets, roles: Mapping[str, bytes], *, now: datetime
) -> None:
    """Accept publishers' roles that were signed anew for these targets."""
    own_names = {name for name in roles if name.partition("~")[0] == OPERATOR}
    if own_names - {WITHDRAWN}:
        msg = f"expected {WITHDRAWN} and publishers' roles, found {sorted(own_names)}"
        raise MalformedDocumentError(msg)
    for publisher in {name.partition("~")[0] for name in roles} - {OPERATOR}:
        own = {n: it for n, it in roles.items() if n.partition("~")[0] == publisher}
        require_roles(session, publisher, own, change=NO_CHANGE, now=now, targets=new)


def _require_withdrawn(
    session: Session, new: Targets, data: bytes | None
) -> dict[ReleaseName, str]:
    """Return release -> reason of what this step withdraws; nothing is taken back."""
    delegation = delegation_of(new, WITHDRAWN)
    if delegation is None:
        if data is not None:
            msg = f"{WITHDRAWN}: these targets delegate nothing to it"
            raise MalformedDocumentError(msg)
        return {}
    if next(iter(_delegated(new))) != WITHDRAWN or not delegation.terminating:
        msg = f"{WITHDRAWN} must be the first delegation, and terminate the search"
        raise MalformedDocumentError(msg)
    current = state.find(session, WITHDRAWN, Targets)
    known = {} if current is None else current.signed.unrecognized_fields[WITHDRAWALS]
    reasons = known
    if data is not None:
        role = parse(data, Targets)
        require_role_signed(new, WITHDRAWN, role)
        before = 0 if current is None else current.signed.version
        version = role.signed.version
        require_next(session, WITHDRAWN, data, version=version, current=before)
        reasons = role.signed.unrecognized_fields.get(WITHDRAWALS)
        is_empty = not role.signed.targets and role.signed.delegations is None
        if not is_empty or not _has_reasons(reasons):
            msg = f"{WITHDRAWN}: expected an empty role that says why"
            raise MalformedDocumentError(msg)
    names = {ReleaseName.parse(name): str(reason) for name, reason in reasons.items()}
    paths = {target_path(name, "*") for name in names}
    if not known.items() <= reasons.items() or paths != set(delegation.paths or ()):
        msg = f"{WITHDRAWN}: paths and reasons differ, or one was taken back"
        raise MalformedDocumentError(msg)
    return {
        name: checked_reason(it) for name, it in names.items() if str(name) not in known
    }


def _has_reasons(reasons: object) -> bool:
    return isinstance(reasons, dict) and bool(reasons)


def _require_still_signed(
    session: Session, new: Targets, submitted: Collection[str]
) -> None:
    """Accept targets under whose delegations every other current role is signed."""
    for name in _delegated(new):
        current = state.find(session, name, Targets)
        if current is not None and name not in submitted:
            require_role_signed(new, name, current)


def _synchronise(session: Session, context: Context, new: Targets) -> None:
    """Write the keys of ``new``'s delegations into the publishers' table."""
    for name in _delegated(new):
        role = delegation_of(new, name)
        if "~" in name or role is None:
            continue
        # One key signs statements, the first; the threshold is of the role alone.
        key = keys_of(new, role)[0]
        row = session.get(PublisherRow, name)
        if row is None:
            row = PublisherRow(name=name, created_at=context.now())
            session.add(row)
        row.keyid, row.public_key = key.keyid, key.to_pem()


def _withdraw(
    session: Session, context: Context, reasons: Mapping[ReleaseName, str]
) -> list[YankNotice]:
    now = context.now()
    notices = []
    for name, reason in reasons.items():
        key = (name.publisher, name.model, name.version)
        row = session.get(WithdrawalRow, key)
        if row is None:
            row = WithdrawalRow(
                publisher=name.publisher, model=name.model, version=name.version
            )
            session.add(row)
        # Also after its publisher: the operator's word reaches further.
        row.withdrawn_by, row.reason, row.withdrawn_at = "operator", reason, now
        notice = notice_of(session, row)
        data = notice.to_bytes()  # of which the log has the digest
        path = target_path(name, YANK_NAME)
        keep_target(session, path, data, sha256=sha256_bytes(data))
        notices.append(notice)
    return notices


def _log_entry(notice: YankNotice) -> LogEntry:
    return entry("yank", notice.release, notice.to_bytes())


def _key_changes(current: Targets, new: Targets) -> list[LogEntry]:
    changed = []
    for name in _delegated(new):
        before, after = delegation_of(current, name), delegation_of(new, name)
        if after is not None and (before is None or before.keyids != after.keyids):
            keyids = " ".join(after.keyids).encode()
            changed.append(entry("key", name, keyids, version=new.version))
    trusted = new.targets[TRUSTED_KEYS].hashes
    if current.targets[TRUSTED_KEYS].hashes != trusted:
        changed.append(
            LogEntry(
                kind="key",
                name=TRUSTED_KEYS,
                version=new.version,
                sha256=trusted["sha256"],
            )
        )
    return changed
