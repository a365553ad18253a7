"""Roles that expire soon: logged for the operator long before clients refuse them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.exc import SQLAlchemyError

from model_zoo.clock import rfc3339
from model_zoo.errors import ZooError
from model_zoo.tuf.roles import (
    LIFETIMES,
    OPERATOR,
    PUBLISHER_LIFETIME,
    ROOT,
    SNAPSHOT,
    TIMESTAMP,
    TOP_LEVEL,
    YANKED,
    bin_prefix,
)
from service.context import Context
from service.database.tables import MetadataRow
from service.repository import state

WARNING_SHARE = 4
"""A warning comes when a quarter of the usual life is left: six hours of a day."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """A role and when clients begin to refuse it."""

    role: str
    expires: datetime

    @property
    def stops_everybody(self) -> bool:
        """Whether clients are refused all of the zoo, and not one publisher's part."""
        return self.role.partition("~")[0] in {*TOP_LEVEL, OPERATOR}

    def __str__(self) -> str:
        """Return it as one line that says what to do."""
        how = {
            SNAPSHOT: "the service should have signed it anew: look at its log",
            TIMESTAMP: "the service should have signed it anew: look at its log",
            ROOT: "hold a ceremony: zoo trust rotate",
        }.get(self.role, "have it signed anew: zoo trust renew, or any zoo trust act")
        return f"{self.role} expires at {rfc3339(self.expires)}; {how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Whether the database can be read, and whether clients believe what it holds.

    ``expiring`` are the roles that clients will refuse before long.
    """

    database: bool
    fresh: bool
    expiring: tuple[Expiring, ...]


def read_freshness(context: Context) -> Freshness:
    """Return how fresh the repository is; an error of the database is part of it."""
    found: list[Expiring] = []
    database = readable = True
    try:
        found = expiring(context)
    except SQLAlchemyError:
        database = False
    except (ZooError, ValueError, KeyError, TypeError):  # metadata nobody can read
        readable = False
    now = context.now()
    fresh = all(it.expires > now for it in found if it.stops_everybody)
    return Freshness(database=database, fresh=readable and fresh, expiring=tuple(found))


def expiring(context: Context) -> list[Expiring]:
    """Return the roles that expire before long, the next one first.

    The bins of withdrawn files are left out: each lives as long as the role above them,
    or longer, and whoever asks whether the service is well shall not wait for them.
    """
    newest = (
        select(MetadataRow.role, func.max(MetadataRow.version).label("version"))
        .where(MetadataRow.role.not_like(f"{bin_prefix(YANKED)}-%"))
        .group_by(MetadataRow.role)
        .subquery()
    )
    is_newest = and_(
        MetadataRow.role == newest.c.role, MetadataRow.version == newest.c.version
    )
    with context.database.reading() as session:
        rows = session.scalars(select(MetadataRow).join(newest, is_newest))
        found = [Expiring(row.role, state.expiry_in(row.data)) for row in rows]
    now = context.now()
    soon = [
        it
        for it in found
        if (it.expires - now) * WARNING_SHARE
        < LIFETIMES.get(it.role, PUBLISHER_LIFETIME)
    ]
    return sorted(soon, key=lambda it: it.expires)
