"""What will expire soon: told to the operator long before clients refuse it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from model_zoo.clock import rfc3339
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


def expiring(session: Session, *, now: datetime) -> list[Expiring]:
    """Return the roles whose life is nearly over, the next to die first.

    The bins of withdrawn files are left out: each lives as long as the role above them,
    or longer, and whoever asks whether the service is well shall not wait for them.
    """
    newest = (
        select(MetadataRow.role, func.max(MetadataRow.version).label("version"))
        .where(MetadataRow.role.not_like(f"{bin_prefix(YANKED)}-%"))
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
    found = [Expiring(row.role, state.expiry_in(row.data)) for row in rows]
    soon = [
        it
        for it in found
        if (it.expires - now) * WARNING_SHARE
        < LIFETIMES.get(it.role, PUBLISHER_LIFETIME)
    ]
    return sorted(soon, key=lambda it: it.expires)
