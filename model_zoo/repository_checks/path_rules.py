"""The rules on who may speak about which path, and whether clients find it.

A client asks the delegations of a role in order and stops at a terminating one; ``*``
never crosses a ``/``. Two publishers whose patterns meet could answer for each other.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from itertools import islice

from tuf.api.metadata import DelegatedRole, SuccinctRoles, Targets
from tuf.ngclient import UpdaterConfig

from model_zoo.repository_checks.observe import Finding, Repository, failure
from model_zoo.repository_checks.rules import Check
from model_zoo.tuf.roles import (
    OPERATOR,
    TARGETS,
    WITHDRAWN,
    YANKED,
    YANKED_PATHS,
    bin_prefix,
)

RELEASE_SEGMENTS = 4
"""publisher/model/version/file."""
MAX_SEGMENT_CHARACTERS = 128
"""Twice a name's: longer ones are taken to meet, so that nobody can make us recurse."""
MAX_MEETINGS = 1000
"""Told at most: where so many patterns meet, more of them say nothing new."""
MAX_ROLES_ASKED = UpdaterConfig().max_delegations
_WILD = frozenset("*?[")


def first_is_withdrawn(repository: Repository, _: datetime) -> Iterator[Finding]:
    """What the operator withdrew is asked first, and nothing is asked after it."""
    roles = _top_delegations(repository)
    for position, role in enumerate(roles):
        if role.name == WITHDRAWN and position > 0:
            why = f"asked after {roles[0].name}: clients still find what is withdrawn"
            yield failure("withdrawn-late", WITHDRAWN, why)
    withdrawn = repository.roles.get(WITHDRAWN)
    if withdrawn is not None and withdrawn.signed.targets:
        why = "it has targets: it must be empty to hide what is withdrawn"
        yield failure("withdrawn-full", WITHDRAWN, why)


def terminating(repository: Repository, _: datetime) -> Iterator[Finding]:
    """Every delegation is terminating: nobody after it may answer for its paths."""
    for role in _top_delegations(repository):
        if not role.terminating:
            why = "not terminating: another role may answer for its paths"
            yield failure("not-terminating", role.name, why)


def paths_fit(repository: Repository, _: datetime) -> Iterator[Finding]:
    """A publisher has the paths that start with its name, at the depth of a file."""
    for role in _top_delegations(repository):
        if role.paths is None:
            why = "by hash prefix: such paths are not bound to a name"
            yield failure("foreign-paths", role.name, why)
        for path in role.paths or ():
            yield from _path_fits(role.name, path)


def paths_apart(repository: Repository, _: datetime) -> Iterator[Finding]:
    """No two roles may answer for one path, and no client gives up before its role."""
    met: dict[str, set[str]] = defaultdict(set)
    meetings = _meetings(_top_delegations(repository))
    for one, other, path in islice(meetings, MAX_MEETINGS):
        met[one].add(other)
        met[other].add(one)
        if WITHDRAWN not in {one, other}:
            why = f"{path} may be answered by {other} as well"
            yield failure("paths-overlap", one, why)
    for name, others in sorted(met.items()):
        if len(others) >= MAX_ROLES_ASKED:
            why = f"{len(others) + 1} roles match its paths; clients ask at most "
            yield failure("too-many-roles", name, f"{why}{MAX_ROLES_ASKED}")


def bins_inherit(repository: Repository, _: datetime) -> Iterator[Finding]:
    """A publisher's bins have the publisher's name, keys and threshold."""
    for role in _top_delegations(repository):
        file = repository.roles.get(role.name)
        bins = None if file is None else _bins(file.signed)
        if bins is None:
            continue
        if bins.name_prefix != bin_prefix(role.name):
            why = f"its bins are called {bins.name_prefix[:80]!a}"
            yield failure("bins-misnamed", role.name, why)
        if set(bins.keyids) != set(role.keyids) or bins.threshold != role.threshold:
            why = "its bins have other keys or another threshold than the operator set"
            yield failure("bins-differ", role.name, why)


def targets_in_reach(repository: Repository, _: datetime) -> Iterator[Finding]:
    """Every target lies in the role that clients ask for its path."""
    for role in _top_delegations(repository):
        file = repository.roles.get(role.name)
        if file is None:
            continue
        for path in file.signed.targets:
            if not role.is_delegated_path(path):
                yield _out_of_reach(role.name, path)
        bins = _bins(file.signed)
        for name in () if bins is None else bins.get_roles():
            for path in _targets(repository, name):
                inside = bins is not None and bins.get_role_for_target(path) == name
                if not (inside and role.is_delegated_path(path)):
                    yield _out_of_reach(name, path)


PATH_CHECKS: tuple[Check, ...] = (
    first_is_withdrawn,
    terminating,
    paths_fit,
    paths_apart,
    bins_inherit,
    targets_in_reach,
)


def patterns_meet(one: str, other: str) -> bool:
    """Whether some path matches both patterns."""
    ones, others = one.split("/"), other.split("/")
    return len(ones) == len(others) and all(map(_may_meet, ones, others))


def _may_meet(one: str, other: str) -> bool:
    """Whether two segments meet; the worst is assumed of those that we never use."""
    strange = "[" in one + other or max(len(one), len(other)) > MAX_SEGMENT_CHARACTERS
    return strange or _segments_meet(one, other)


@cache
def _segments_meet(one: str, other: str) -> bool:
    if one == other:
        return True
    if not one or not other:
        return not (one or other).strip("*")
    if one[0] == "*":
        return _segments_meet(one[1:], other) or _segments_meet(one, other[1:])
    if other[0] == "*":
        return _segments_meet(other, one)
    same = one[0] == other[0] or "?" in {one[0], other[0]}
    return same and _segments_meet(one[1:], other[1:])


def _meetings(roles: list[DelegatedRole]) -> Iterator[tuple[str, str, str]]:
    """Yield each two roles that may both answer for a path, and the path."""
    by_first: dict[str, list[tuple[str, str]]] = defaultdict(list)
    wild: list[tuple[str, str]] = []
    for role in roles:
        for path in role.paths or ():
            first = path.partition("/")[0]
            near = by_first[first] + wild
            if _WILD & set(first):
                near = [pair for pairs in by_first.values() for pair in pairs] + wild
                wild.append((role.name, path))
            else:
                by_first[first].append((role.name, path))
            for name, before in near:
                if name != role.name and patterns_meet(before, path):
                    yield name, role.name, path


def _path_fits(name: str, path: str) -> Iterator[Finding]:
    if name == YANKED:
        if path != YANKED_PATHS:
            yield failure("foreign-paths", name, f"it may speak of {path[:200]!a}")
        return
    segments = path.split("/")
    if len(segments) != RELEASE_SEGMENTS:
        why = f"{path[:200]!a} has {len(segments)} segments, a file's path has "
        yield failure("path-depth", name, f"{why}{RELEASE_SEGMENTS}")
    if name != WITHDRAWN and segments[0] != name:
        yield failure("foreign-paths", name, f"it may speak of {path[:200]!a}")
    if segments[0] == OPERATOR:
        yield failure("foreign-paths", name, f"{path[:200]!a} is the operator's")


def _top_delegations(repository: Repository) -> list[DelegatedRole]:
    targets = repository.roles.get(TARGETS)
    if targets is None or targets.signed.delegations is None:
        return []
    return list((targets.signed.delegations.roles or {}).values())


def _bins(role: Targets) -> SuccinctRoles | None:
    return None if role.delegations is None else role.delegations.succinct_roles


def _targets(repository: Repository, name: str) -> Iterator[str]:
    file = repository.roles.get(name)
    yield from () if file is None else file.signed.targets


def _out_of_reach(role: str, path: str) -> Finding:
    return failure("out-of-reach", role, f"no client finds {path[:200]!a} in this role")
