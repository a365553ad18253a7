"""At a start: the next root and targets that the operator put beside the keys.

A running service takes over a root that leaves its online keys as they are. When those
were stolen or lost, the operator stops it, puts new keys and ``N.root.json`` in the
folder, with the ``N.targets.json`` that goes with it, and starts it again.
"""

from sqlalchemy.orm import Session
from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.errors import LocalError
from model_zoo.trust.ceremony import (
    next_targets,
    require_role_signed,
    require_signed,
)
from model_zoo.trust.publishing import sign_roles
from model_zoo.trust.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    YANKED,
    delegation_of,
    parse,
)
from service.parts import Parts
from service.storage import told_as_local_error
from service.trust import state
from service.trust.accepting import require_lifetime
from service.trust.operating import require_roles_kept, require_still_signed
from service.trust.writing import commit, entry


def adopt(session: Session, parts: Parts) -> None:
    """Take over every next root in the folder, and the targets after the last.

    Raises:
        LocalError: the keys in the folder are not those that the root lists.
        VerificationError: a file is not signed as it must be.
        ConflictError: a file is not the next version.
    """
    root = state.require(session, ROOT, Root)
    adopted: list[bytes] = []
    while data := _file(parts, f"{root.signed.version + 1}.root.json"):
        following = parse(data, Root)
        require_signed(following, previous=root)
        root = following
        adopted.append(data)
    _require_our_keys(parts, root.signed)
    if not adopted:
        return
    require_lifetime(ROOT, root.signed.expires, now=parts.now())
    changed = _targets(session, parts, root)
    for data in adopted[:-1]:
        commit(session, parts, {ROOT: data}, entries=[entry("key", ROOT, data)])
    last = adopted[-1]
    told = [entry("key", ROOT, last)]
    commit(session, parts, {ROOT: last, **changed}, entries=told)


def _targets(session: Session, parts: Parts, root: Metadata[Root]) -> dict[str, bytes]:
    """Return the targets that go with a new root, and what they need signed anew."""
    current = state.require(session, TARGETS, Targets)
    data = _file(parts, f"{current.signed.version + 1}.targets.json")
    targets = current if data is None else parse(data, Targets)
    require_role_signed(root.signed, TARGETS, targets)
    changed = {} if data is None else {TARGETS: data}
    if data is not None:
        require_roles_kept(current.signed, targets.signed)
        require_still_signed(session, targets.signed, {YANKED})
    delegation = delegation_of(targets.signed, YANKED)
    if delegation is None or delegation.keyids != [
        parts.trust.snapshot_key.public.keyid
    ]:
        msg = f"the targets give {YANKED} to another key than the snapshot key here"
        raise LocalError(msg)
    yanked = state.require(session, YANKED, Targets)
    following = next_targets(yanked, now=parts.now())
    following.signed.expires = root.signed.expires
    return changed | sign_roles({YANKED: following}, parts.trust.snapshot_key)


def _require_our_keys(parts: Parts, root: Root) -> None:
    for role, key in (
        (SNAPSHOT, parts.trust.snapshot_key),
        (TIMESTAMP, parts.trust.timestamp_key),
    ):
        if key.public.keyid not in root.roles[role].keyids:
            msg = (
                f"{parts.trust.folder}: root version {root.version} does not list this "
                f"{role} key; put the next root beside it, or the right key"
            )
            raise LocalError(msg)


def _file(parts: Parts, name: str) -> bytes | None:
    path = parts.trust.folder / name
    with told_as_local_error(f"cannot read {path}"):
        return path.read_bytes() if path.exists() else None
