"""What will expire soon: told to the operator long before clients refuse it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from model_zoo.clock import rfc3339
from model_zoo.trust.roles import (
    LIFETIMES,
    PUBLISHER_LIFETIME,
    ROOT,
    SNAPSHOT,
    TIMESTAMP,
    parse,
)
from service.database.tables import MetadataRow

WARNING_SHARE = 4
"""A warning comes when a quarter of the usual life is left: six hours of a day."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """A role and when clients begin to refuse it."""

    role: str
    expires: datetime

    def __str__(self) -> str:
        """Return it as one line that says what to do."""
        how = {
            SNAPSHOT: "the service should have signed it anew: look at its log",
            TIMESTAMP: "the service should have signed it anew: look at its log",
            ROOT: "hold a ceremony: zoo trust rotate",
        }.get(self.role, "have it signed anew: zoo trust renew, or any zoo trust act")
        return f"{self.role} expires at {rfc3339(self.expires)}; {how}"


def expiring(session: Session, *, now: datetime) -> list[Expiring]:
    """Return the roles whose life is nearly over, the next to die first."""
    newest = (
        select(MetadataRow.role, func.max(MetadataRow.version).label("version"))
        .group_by(MetadataRow.role)
        .subquery()
    )
    rows = session.scalars(
        select(MetadataRow).join(
            newest,
            (MetadataRow.role == newest.c.role)
            & (MetadataRow.version == newest.c.version),
        )
    )
    found = [Expiring(row.role, _expires(row)) for row in rows]
    soon = [
        it
        for it in found
        if (it.expires - now) * WARNING_SHARE
        < LIFETIMES.get(it.role, PUBLISHER_LIFETIME)
    ]
    return sorted(soon, key=lambda it: it.expires)


def _expires(row: MetadataRow) -> datetime:
    if row.role == ROOT:
        return parse(row.data, Root).signed.expires
    if row.role == SNAPSHOT:
        return parse(row.data, Snapshot).signed.expires
    if row.role == TIMESTAMP:
        return parse(row.data, Timestamp).signed.expires
    return parse(row.data, Targets).signed.expires
