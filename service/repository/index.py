"""The index of withdrawn files: from a digest to whose withdrawals to look for.

It is the role ``zoo~yanked``, signed online. Once it is long it splits into bins, so
that a client reads one of them for a digest; nobody reads it whole.

ADR 21 and 27: the index points to withdrawals, and nobody believes it.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import insert, select
from sqlalchemy.orm import Session
from tuf.api.metadata import Metadata, TargetFile, Targets

from model_zoo.clock import rfc3339
from model_zoo.digests import sha256_bytes
from model_zoo.errors import MalformedDocumentError
from model_zoo.names import ReleaseName
from model_zoo.tuf.publisher_roles import (
    PublisherRoles,
    edited,
    renewed,
    sign_roles,
    spread_out,
    target_file,
)
from model_zoo.tuf.revocations import WithdrawnFile, YankNotice, index_path
from model_zoo.tuf.roles import YANKED, bin_prefix
from service.context import Context
from service.database.tables import ReleaseRow, TargetRow, WithdrawalRow
from service.repository import state
from service.repository.losses import lost_versions, next_version
from service.uploads.sessions import manifest_of

log = logging.getLogger(__name__)

MAX_ENTRIES, MAX_PUBLISHERS_ENTRIES = 26_000, 20_000
"""Of one bin: 185 bytes each, and clients read 5 MB. The last are the operator's."""
PATHS_AT_ONCE = 500
"""In one question to the database."""


def indexed(
    session: Session,
    context: Context,
    notices: Iterable[YankNotice],
    *,
    targets: Targets | None = None,
) -> dict[str, bytes]:
    """Return the next version of every role of the index that ``notices`` change.

    A withdrawal is never refused because the index is full: clients go on reading the
    bin as it is, and the log of the service says which one has to be looked at.

    Args:
        session: keeps the entries; the caller commits.
        context: keys and clock.
        notices: what is withdrawn in this step, all by the operator or none.
        targets: the top-level targets that will delegate; else the current ones.
    """
    roles = state.publisher_roles(session, YANKED, targets=targets)
    new = list(notices)
    by_operator = any(notice.withdrawn_by == "operator" for notice in new)
    changed = _that_fit(
        roles,
        _changed(session, roles, new),
        limit=MAX_ENTRIES if by_operator else MAX_PUBLISHERS_ENTRIES,
    )
    add = _kept(session, changed)
    following = edited(roles, add=add, now=context.now())
    return _signed(session, context, following)


def renewed_index(session: Session, context: Context) -> dict[str, bytes]:
    """Return the next version of every role of the index, signed anew."""
    roles = state.publisher_roles(session, YANKED)
    return _signed(session, context, renewed(roles, now=context.now()))


def index_after_loss(session: Session, context: Context) -> dict[str, bytes]:
    """Return the index above all that was served of it, with the bins that it had.

    Clients refuse a snapshot that drops a role, and so a bin that was lost.
    """
    roles = state.publisher_roles(session, YANKED)
    lost_bins = any(it.startswith(bin_prefix(YANKED)) for it in lost_versions(session))
    write = spread_out if lost_bins else renewed
    return _signed(session, context, write(roles, now=context.now()))


def rebuilt_index(session: Session, context: Context) -> dict[str, bytes]:
    """Return the index with entries in place of the notices that it once held.

    So it was in repositories from before it had bins; of any other nothing changes.
    """
    roles = state.publisher_roles(session, YANKED)
    known = {} if roles.role is None else roles.role.signed.targets
    if all(_is_entry(session, path, file) for path, file in known.items()):
        return {}
    rows = session.scalars(select(WithdrawalRow)).all()
    withdrawn = [notice_of(session, row) for row in rows]
    add = _kept(session, _with_notices({}, withdrawn))
    following = edited(roles, add=add, now=context.now())
    return _signed(session, context, following)


def _is_entry(session: Session, path: str, file: TargetFile) -> bool:
    kept = state.small_target(session, path, file.hashes["sha256"]) or b""
    try:
        WithdrawnFile.read(kept)
    except MalformedDocumentError:
        return False
    return True


def notice_of(session: Session, row: WithdrawalRow) -> YankNotice:
    """Return the notice of a withdrawal, with the tensor files of its release."""
    release = session.get(ReleaseRow, (row.publisher, row.model, row.version))
    files = () if release is None else manifest_of(release.upload).tensors()
    by_operator = row.withdrawn_by == "operator"
    return YankNotice(
        release=str(ReleaseName(row.publisher, row.model, row.version)),
        withdrawn_by="operator" if by_operator else "publisher",
        reason=row.reason,
        yanked_at=rfc3339(row.withdrawn_at),
        files={file.name: file.sha256 for file in files},
    )


def _signed(
    session: Session, context: Context, following: Mapping[str, Metadata[Targets]]
) -> dict[str, bytes]:
    """Return the files of roles, their versions above all that was ever served."""
    for name, role in following.items():
        role.signed.version = next_version(
            session, name, current=role.signed.version - 1
        )
    return sign_roles(following, context.keys.snapshot_key)


def _changed(
    session: Session, roles: PublisherRoles, notices: Collection[YankNotice]
) -> dict[str, WithdrawnFile]:
    """Return path -> entry of all that ``notices`` change."""
    paths = {index_path(it) for notice in notices for it in notice.files.values()}
    known = {path: file for path in paths if (file := roles.find(path)) is not None}
    before = _current(session, known)
    after = _with_notices(before, notices)
    return {path: it for path, it in after.items() if it != before.get(path)}


def _with_notices(
    before: Mapping[str, WithdrawnFile], notices: Iterable[YankNotice]
) -> dict[str, WithdrawnFile]:
    after = dict(before)
    for notice in notices:
        for digest in notice.files.values():
            path = index_path(digest)
            entry = after.get(path, WithdrawnFile())
            after[path] = entry.with_notice(notice)
    return after


def _current(
    session: Session, known: Mapping[str, TargetFile]
) -> dict[str, WithdrawnFile]:
    """Return the index's current entries; older ones of the same paths are deleted."""
    entries = {}
    paths = sorted(known)
    for begin in range(0, len(paths), PATHS_AT_ONCE):
        some = paths[begin : begin + PATHS_AT_ONCE]
        rows = session.scalars(select(TargetRow).where(TargetRow.path.in_(some)))
        for row in rows.all():
            if row.sha256 == known[row.path].hashes["sha256"]:
                entries[row.path] = WithdrawnFile.read(row.data)
            else:
                session.delete(row)
    return entries


def _that_fit(
    roles: PublisherRoles, changed: Mapping[str, WithdrawnFile], *, limit: int
) -> dict[str, WithdrawnFile]:
    """Return the entries for which there is room in the bin that clients read."""
    bins = roles.spread
    if bins is None:
        return dict(changed)
    fit: dict[str, WithdrawnFile] = {}
    grown: Counter[str] = Counter()
    for path, entry in changed.items():
        name = bins.get_role_for_target(path)
        known = roles.bin(name).signed.targets
        if path not in known and len(known) + grown[name] >= limit:
            log.error("%s is full: %s is not found by those who descend", name, path)
            continue
        grown[name] += path not in known
        fit[path] = entry
    return fit


def _kept(
    session: Session, changed: Mapping[str, WithdrawnFile]
) -> dict[str, TargetFile]:
    """Store the entries; return path -> target file of each."""
    files, rows = {}, []
    for path, entry in changed.items():
        data = entry.to_bytes()
        sha256 = sha256_bytes(data)
        files[path] = target_file(path, size_bytes=len(data), sha256=sha256)
        rows.append({"path": path, "sha256": sha256, "data": data})
    if rows:
        session.execute(insert(TargetRow), rows)
    return files
