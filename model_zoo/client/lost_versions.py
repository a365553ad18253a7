"""Versions that a zoo served and lost: the next one of a role lies above them.

ADR 33.
"""

from collections.abc import Mapping
from datetime import datetime

from tuf.api.metadata import Metadata, Targets

from model_zoo.errors import NotFoundError
from model_zoo.http.transport import Transport
from model_zoo.tuf.publisher_roles import PublisherRoles, spread_out
from model_zoo.tuf.roles import bin_prefix

LOST_PATH = "/trust/lost"
MAX_SKIPPED = 100_000
"""A zoo that claims more would use up a role's versions, which end at 2**31."""


def lost_versions(transport: Transport) -> dict[str, int]:
    """Return role -> newest version that the zoo says it served and lost."""
    try:
        lost = transport.get(LOST_PATH).get("versions")
    except NotFoundError:
        return {}
    if not isinstance(lost, dict):
        return {}
    return {name: it for name, it in lost.items() if isinstance(it, int)}


def skip_lost(
    following: Mapping[str, Metadata[Targets]], lost: Mapping[str, int]
) -> None:
    """Put the next versions of roles, unsigned yet, above those that were lost.

    Args:
        following: role name -> metadata, changed in place.
        lost: what the zoo claims; at most MAX_SKIPPED versions are skipped for it.
    """
    for name, metadata in following.items():
        version = metadata.signed.version
        if version <= lost.get(name, 0) < version + MAX_SKIPPED:
            metadata.signed.version = lost[name] + 1


def above_lost(
    roles: PublisherRoles,
    following: Mapping[str, Metadata[Targets]],
    *,
    lost: Mapping[str, int],
    now: datetime,
) -> Mapping[str, Metadata[Targets]]:
    """Return the next versions of a publisher's roles, above those that were lost.

    Clients refuse a snapshot that drops a role: a role whose bins were lost has bins
    again, however little it vouches for.

    Args:
        roles: the current state, verified.
        following: what comes next, unsigned yet.
        lost: what the zoo claims.
        now: when the new versions start to count.
    """
    name = roles.delegation.name
    role, bins = following.get(name), f"{bin_prefix(name)}-"
    if role and not role.signed.delegations and any(it.startswith(bins) for it in lost):
        following = spread_out(roles, now=now, targets=role.signed.targets)
    skip_lost(following, lost)
    return following
