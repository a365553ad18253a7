"""What more than one router takes or answers as JSON; the rest lies beside its router.

What the client reads of the same answers is in ``model_zoo.http.responses``.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from model_zoo.clock import rfc3339
from model_zoo.http.responses import Accepted
from service.database.tables import JobRow

Dsse = dict[str, Any]
Roles = Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=64)]
Name = Annotated[str, Field(max_length=64)]


class Incoming(BaseModel):
    """A request's body: exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RolesIn(Incoming):
    """Role versions, each signed where its key lies, and small files they name."""

    roles: Roles
    files: Annotated[dict[str, dict[str, Any]], Field(max_length=1)] = Field(
        default_factory=dict
    )


class AcceptedOut(Accepted):
    """Which versions are current now; none new where the change waits."""


class JobOut(BaseModel):
    """A job as it stands; its claimed evaluation is a claim and no more."""

    id: str
    kind: str
    trainer: str
    spec: dict[str, Any]
    spec_digest: str
    state: str
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None
    claimed_evaluation: dict[str, Any] | None
    measured_evaluation: dict[str, Any] | None
    waiting_because: str | None

    @classmethod
    def of(cls, row: JobRow, waiting_because: str | None) -> "JobOut":
        """Return what the API says of a job, and why it waits if it does."""
        started, finished = row.started_at, row.finished_at
        return cls(
            id=row.id,
            kind=row.kind,
            trainer=row.trainer,
            spec=row.spec,
            spec_digest=row.spec_digest,
            state=row.state,
            attempts=row.attempts,
            created_at=rfc3339(row.created_at),
            started_at=None if started is None else rfc3339(started),
            finished_at=None if finished is None else rfc3339(finished),
            error=row.error,
            claimed_evaluation=row.claimed_evaluation,
            measured_evaluation=row.measured_evaluation,
            waiting_because=waiting_because,
        )
