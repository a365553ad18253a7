"""Import at a start: the next root and targets that the operator put beside the keys.

A running service takes over a root and targets that leave its online keys as they are.
When those were stolen or lost, the operator stops it, puts new keys in the folder, with
``N.root.json`` for snapshot and timestamp, ``N.targets.json`` and
``N.trusted-keys.json`` for the log and the bundles, and starts it again.

ADR 17: online keys change hands while the service stands still.
"""

from sqlalchemy.orm import Session
from tuf.api.metadata import Root, Targets

from model_zoo.errors import LocalError
from model_zoo.transparency.tlog import LogEntry
from model_zoo.tuf.ceremony import require_role_signed, require_signed
from model_zoo.tuf.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    YANKED,
    delegation_of,
    parse,
)
from model_zoo.tuf.trusted_keys import trusted_keys_file
from service.context import Context
from service.repository import state
from service.repository.admin import follow_targets, require_next_targets
from service.repository.commit import commit, entry
from service.repository.index import indexed
from service.repository.keys import unlisted
from service.repository.losses import require_not_other
from service.repository.validation import require_lifetime
from service.storage.blobs import translate_errors


def import_roles(session: Session, context: Context) -> None:
    """Make current every next root in the folder, and the targets after the last.

    Raises:
        LocalError: the keys in the folder are not those that root and targets list.
        VerificationError: a file is not signed as it must be, or holds what it may not.
        ConflictError: a file is not the next version.
    """
    root = state.require(session, ROOT, Root)
    roots: list[bytes] = []
    while data := _file(context, f"{root.signed.version + 1}.root.json"):
        following = parse(data, Root)
        require_signed(following, previous=root)
        require_not_other(session, ROOT, data, version=following.signed.version)
        root = following
        roots.append(data)
    _require_our_keys(context, root.signed)
    if roots:
        require_lifetime(ROOT, root.signed.expires, now=context.now())
    changed, entries = _targets(session, context, root.signed, is_rekeyed=bool(roots))
    if roots:
        for data in roots[:-1]:
            commit(session, context, {ROOT: data}, entries=[entry("key", ROOT, data)])
        changed[ROOT] = roots[-1]
        entries.append(entry("key", ROOT, roots[-1]))
    if changed:
        commit(session, context, changed, entries=entries)
    _require_listed(session, context)


def _targets(
    session: Session, context: Context, root: Root, *, is_rekeyed: bool
) -> tuple[dict[str, bytes], list[LogEntry]]:
    """Return the next targets if they are there, and the log's entries of them.

    With them comes the index of withdrawn files, if something is withdrawn or the key
    that signs it may be another.
    """
    current = state.require(session, TARGETS, Targets)
    version = current.signed.version + 1
    data = _file(context, f"{version}.targets.json")
    if data is None:
        require_role_signed(root, TARGETS, current)
        _require_yanked_is_ours(context, current.signed)
        return (indexed(session, context, []) if is_rekeyed else {}), []
    trusted = _file(context, trusted_keys_file(version))
    new = require_next_targets(
        session,
        data,
        root=root,
        files={} if trusted is None else {TRUSTED_KEYS: trusted},
        now=context.now(),
    )
    _require_yanked_is_ours(context, new)
    withdrawn, entries = follow_targets(session, context, new, {})
    changed = {TARGETS: data}
    if withdrawn or is_rekeyed:
        changed |= indexed(session, context, withdrawn, targets=new)
    return changed, entries


def _require_yanked_is_ours(context: Context, targets: Targets) -> None:
    delegation = delegation_of(targets, YANKED)
    ours = context.keys.snapshot_key.public.keyid
    if delegation is None or delegation.keyids != [ours]:
        msg = f"the targets give {YANKED} to another key than the snapshot key here"
        raise LocalError(msg)


def _require_listed(session: Session, context: Context) -> None:
    wrong = unlisted(context, state.trusted_keys(session))
    if wrong is not None:
        raise LocalError(wrong)


def _require_our_keys(context: Context, root: Root) -> None:
    for role, key in (
        (SNAPSHOT, context.keys.snapshot_key),
        (TIMESTAMP, context.keys.timestamp_key),
    ):
        if key.public.keyid not in root.roles[role].keyids:
            msg = (
                f"{context.keys.folder}: root version {root.version} does not list "
                f"this {role} key; put the next root beside it, or the right key"
            )
            raise LocalError(msg)


def _file(context: Context, name: str) -> bytes | None:
    path = context.keys.folder / name
    with translate_errors(f"cannot read {path}"):
        return path.read_bytes() if path.exists() else None
