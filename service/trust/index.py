"""The index of withdrawn files: from a digest to whose withdrawals to look for.

It is the role ``zoo~yanked``, signed online. Once it is long it splits into bins, so that
a client reads one of them for a digest; nobody reads it whole.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import delete
from sqlalchemy.orm import Session
from tuf.api.metadata import TargetFile, Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError
from model_zoo.trust.publishing import (
    PublisherRoles,
    edited,
    renewed,
    sign_roles,
    target_file,
)
from model_zoo.trust.roles import TARGETS, YANKED, delegation_of
from model_zoo.trust.yanks import WithdrawnFile, YankNotice, index_path
from service.database.tables import TargetRow
from service.parts import Parts
from service.trust import state

log = logging.getLogger(__name__)

MAX_ENTRIES, MAX_PUBLISHERS_ENTRIES = 26_000, 20_000
"""Of one bin: 185 bytes each, and clients read 5 MB. The last are the operator's."""


def indexed(
    session: Session,
    parts: Parts,
    notices: Iterable[YankNotice],
    *,
    targets: Targets | None = None,
) -> dict[str, bytes]:
    """Return the next version of every role of the index that ``notices`` change.

    A withdrawal is never refused because the index is full: clients go on reading the
    bin as it is, and the log of the service says which one has to be looked at.

    Args:
        session: keeps the entries; the caller commits.
        parts: keys and clock.
        notices: what is withdrawn in this step, all by the operator or none.
        targets: the top-level targets that will delegate; else the current ones.
    """
    roles = _roles(session, targets)
    told = list(notices)
    by_operator = any(notice.withdrawn_by == "operator" for notice in told)
    add = _that_fit(
        roles,
        _entries(session, roles, told),
        limit=MAX_ENTRIES if by_operator else MAX_PUBLISHERS_ENTRIES,
    )
    following = edited(roles, add=add, now=parts.now())
    return sign_roles(following, parts.trust.snapshot_key)


def renewed_index(
    session: Session, parts: Parts, *, targets: Targets | None = None
) -> dict[str, bytes]:
    """Return the next version of every role of the index, signed anew.

    Args:
        session: the caller commits.
        parts: keys and clock.
        targets: the top-level targets that will delegate; else the current ones.
    """
    roles = _roles(session, targets)
    return sign_roles(renewed(roles, now=parts.now()), parts.trust.snapshot_key)


def _roles(session: Session, targets: Targets | None) -> PublisherRoles:
    above = targets or state.require(session, TARGETS, Targets).signed
    delegation = delegation_of(above, YANKED)
    if delegation is None or above.delegations is None:
        msg = f"these targets delegate nothing to {YANKED}"
        raise LocalError(msg)
    return PublisherRoles(
        delegation=delegation,
        keys=above.delegations.keys,
        role=state.find(session, YANKED, Targets),
        load_bin=lambda name: state.require(session, name, Targets),
    )


def _entries(
    session: Session, roles: PublisherRoles, notices: Iterable[YankNotice]
) -> dict[str, TargetFile]:
    """Return path -> file of each entry that ``notices`` change, and keep its bytes."""
    changed: dict[str, WithdrawnFile] = {}
    for notice in notices:
        for digest in notice.files.values():
            path = index_path(digest)
            before = changed.get(path) or _entry(session, roles, path)
            after = before.with_notice(notice)
            if after != before:
                changed[path] = after
    return {path: _kept(session, path, entry) for path, entry in changed.items()}


def _entry(session: Session, roles: PublisherRoles, path: str) -> WithdrawnFile:
    """Return what the index says now; what a change before left behind is dropped."""
    file = roles.find(path)
    if file is None:
        return WithdrawnFile()
    sha256 = file.hashes["sha256"]
    session.execute(
        delete(TargetRow).where(TargetRow.path == path, TargetRow.sha256 != sha256)
    )
    return WithdrawnFile.read(state.small_target(session, path, sha256) or b"")


def _that_fit(
    roles: PublisherRoles, add: Mapping[str, TargetFile], *, limit: int
) -> dict[str, TargetFile]:
    """Return the entries for which there is room in the bin that clients read."""
    bins = roles.spread
    if bins is None:
        return dict(add)
    fit: dict[str, TargetFile] = {}
    grown: Counter[str] = Counter()
    for path, file in add.items():
        name = bins.get_role_for_target(path)
        known = roles.bin(name).signed.targets
        if path not in known and len(known) + grown[name] >= limit:
            log.error("%s is full: %s is not found by those who descend", name, path)
            continue
        grown[name] += path not in known
        fit[path] = file
    return fit


def _kept(session: Session, path: str, entry: WithdrawnFile) -> TargetFile:
    data = entry.to_bytes()
    sha256 = sha256_bytes(data)
    session.add(TargetRow(path=path, sha256=sha256, data=data))
    return target_file(path, size_bytes=len(data), sha256=sha256)
