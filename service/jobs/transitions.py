"""How jobs and attempts change state: each change is written with its event.

queued -> running -> succeeded | failed | cancelled
running -> queued, when an attempt is lost or fails and may be tried again
"""

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.orm import Session

from service.database.tables import AttemptRow, JobRow
from service.jobs.events import NewEvent, record

MAX_ATTEMPTS = 3
"""A job that kills its worker three times is poison: a fourth would not help."""

Ending = Literal["succeeded", "failed", "cancelled"]


def start(
    session: Session, job: JobRow, *, worker: str, lease_seconds: int, now: datetime
) -> AttemptRow:
    """Begin the attempt that a claim has written into ``job``."""
    attempt = AttemptRow(
        id=job.attempt_id,
        job_id=job.id,
        number=job.attempts,
        worker=worker,
        state="running",
        lease_seconds=lease_seconds,
        lease_until=now + timedelta(seconds=lease_seconds),
        started_at=now,
    )
    session.add(attempt)
    job.started_at = job.started_at or now
    data = {"attempt": job.attempts, "worker": worker}
    record(session, job, [NewEvent("started", data)], now=now)
    return attempt


def end(
    session: Session, job: JobRow, state: Ending, *, error: str | None, now: datetime
) -> None:
    """End ``job`` for good."""
    job.state, job.error, job.finished_at = state, error, now
    job.attempt_id = None
    data = {} if error is None else {"error": error}
    record(session, job, [NewEvent(state, data)], now=now)


def end_attempt(
    attempt: AttemptRow,
    state: Ending | Literal["lost"],
    *,
    error: str | None,
    now: datetime,
) -> None:
    """End ``attempt`` and leave its job as it is."""
    attempt.state, attempt.error, attempt.finished_at = state, error, now


def try_again(session: Session, job: JobRow, *, error: str, now: datetime) -> None:
    """Queue ``job`` again, or end it where that makes no sense any more."""
    if job.cancel_requested:
        end(session, job, "cancelled", error=None, now=now)
    elif job.attempts >= MAX_ATTEMPTS:
        end(session, job, "failed", error=error, now=now)
    else:
        job.state, job.error, job.attempt_id = "queued", error, None
        record(session, job, [NewEvent("queued", {"error": error})], now=now)


def lose(session: Session, attempt: AttemptRow, job: JobRow, *, now: datetime) -> None:
    """Give up on an attempt whose lease ran out."""
    error = f"worker {attempt.worker} stopped answering in attempt {attempt.number}"
    end_attempt(attempt, "lost", error=error, now=now)
    data = {"attempt": attempt.number, "worker": attempt.worker}
    record(session, job, [NewEvent("lost", data)], now=now)
    try_again(session, job, error=error, now=now)
