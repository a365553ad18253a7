"""What a worker may do with a job it holds, and what happens when its lease runs out.

A job runs at least once and is ended exactly once. Everything an attempt does demands
a live lease in the same transaction. That is the fence: a worker that slept past its
lease finds itself locked out, even before the lease is reaped.

ADR 5.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from model_zoo.canonical import JsonObject
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    NotFoundError,
    ProvenanceMismatchError,
)
from model_zoo.names import check_id
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.intoto import (
    Provenance,
    invocation_of,
    open_provenance,
    require_plausible,
    subjects_of,
)
from model_zoo.statements.jobs import parse_spec
from service.accounts.registrations import registration, role_of
from service.context import Context
from service.database.queries import complete_upload
from service.database.tables import AttemptRow, DraftRow, JobRow, TrainerRow
from service.jobs.events import NewEvent, record
from service.jobs.transitions import end, end_attempt, lose, try_again
from service.uploads.sessions import find_upload, manifest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of an attempt; ``claimed_evaluation`` is not verified."""

    upload_id: str
    provenance: Envelope
    claimed_evaluation: JsonObject | None


def renew(context: Context, attempt_id: str) -> bool:
    """Prolong an attempt's lease; return whether its job was cancelled.

    Raises:
        NotFoundError: there is no such attempt.
        ConflictError: it is over; stop at once.
    """
    now = context.now()
    with context.database.writing() as session:
        attempt, job = _live(session, attempt_id, now=now)
        attempt.lease_until = now + timedelta(seconds=attempt.lease_seconds)
        return job.cancel_requested


def report(context: Context, attempt_id: str, events: list[NewEvent]) -> None:
    """Append the events that a live attempt reports.

    Raises:
        NotFoundError: there is no such attempt.
        ConflictError: it is over.
    """
    now = context.now()
    with context.database.writing() as session:
        _, job = _live(session, attempt_id, now=now)
        record(session, job, events, now=now)


def complete(context: Context, attempt_id: str, result: Result) -> JobRow:
    """End a job with a draft, if its trainer signed that this is what was asked for.

    Completing twice with the same files is no error, so that a lost answer can be
    asked for again.

    Raises:
        NotFoundError: there is no such attempt or upload.
        ConflictError: the attempt is over.
        InvalidSpecError: the upload is not complete.
        VerificationError: the provenance is not the trainer's, or not of this attempt.
    """
    check_id(attempt_id, what="attempt")
    with context.database.reading() as session:
        done = _completed(session, attempt_id, result)
        if done is not None:
            return done
        _, job = _live(session, attempt_id, now=context.now())
    provenance = _checked(context, job, attempt_id, result)
    now = context.now()
    with context.database.writing() as session:
        attempt, job = _live(session, attempt_id, now=now)
        if complete_upload(session, result.upload_id) is None:
            msg = f"upload {result.upload_id} was deleted meanwhile"
            raise NotFoundError(msg)
        session.add(
            DraftRow(
                job_id=job.id,
                attempt_id=attempt.id,
                upload_id=result.upload_id,
                provenance=result.provenance.to_object(),
            )
        )
        job.claimed_evaluation = result.claimed_evaluation
        measured = provenance.measured
        job.measured_evaluation = None if measured is None else measured.to_object()
        end_attempt(attempt, "succeeded", error=None, now=now)
        end(session, job, "succeeded", error=None, now=now)
    return job


def fail(context: Context, attempt_id: str, *, error: str, retry: bool) -> JobRow:
    """End an attempt that did not work; queue its job again if that may help.

    Raises:
        NotFoundError: there is no such attempt.
        ConflictError: it is over.
    """
    now = context.now()
    with context.database.writing() as session:
        attempt, job = _live(session, attempt_id, now=now)
        end_attempt(attempt, "failed", error=error, now=now)
        if retry:
            try_again(session, job, error=error, now=now)
        else:
            end(session, job, "failed", error=error, now=now)
    return job


def give_up(context: Context, attempt_id: str) -> JobRow:
    """End an attempt that stopped because its job was cancelled.

    Raises:
        NotFoundError: there is no such attempt.
        ConflictError: it is over, or its job was not cancelled.
    """
    now = context.now()
    with context.database.writing() as session:
        attempt, job = _live(session, attempt_id, now=now)
        if not job.cancel_requested:
            msg = f"nobody cancelled job {job.id}"
            raise ConflictError(msg)
        end_attempt(attempt, "cancelled", error=None, now=now)
        end(session, job, "cancelled", error=None, now=now)
    return job


def reap(context: Context) -> int:
    """Give up on attempts whose lease ran out; return how many there were."""
    now = context.now()
    overdue = (
        select(AttemptRow)
        .where(AttemptRow.state == "running", AttemptRow.lease_until <= now)
        # For PostgreSQL; SQLite has one writer, no row locks, and leaves it out.
        .with_for_update(skip_locked=True)
    )
    with context.database.reading() as session:
        if session.scalar(overdue.limit(1)) is None:
            return 0
    with context.database.writing() as session:
        lost = list(session.scalars(overdue))
        for attempt in lost:
            job = session.get_one(JobRow, attempt.job_id, with_for_update=True)
            lose(session, attempt, job, now=now)
    return len(lost)


def _live(
    session: Session, attempt_id: str, *, now: datetime
) -> tuple[AttemptRow, JobRow]:
    """Return the attempt and its job, locked, if the attempt still holds the job.

    Raises:
        InvalidSpecError: ``attempt_id`` is no id.
        NotFoundError: there is no such attempt.
        ConflictError: it ended, was lost, or its lease has run out.
    """
    check_id(attempt_id, what="attempt")
    attempt = session.get(AttemptRow, attempt_id, with_for_update=True)
    if attempt is None:
        msg = f"no attempt {attempt_id}"
        raise NotFoundError(msg)
    job = session.get_one(JobRow, attempt.job_id, with_for_update=True)
    if (
        attempt.state != "running"
        or attempt.lease_until <= now
        or job.attempt_id != attempt.id
    ):
        msg = f"attempt {attempt.number} of job {job.id} is over: stop it"
        raise ConflictError(msg)
    return attempt, job


def _completed(session: Session, attempt_id: str, result: Result) -> JobRow | None:
    """Return the job if exactly this attempt ended it with exactly these files."""
    return session.scalar(
        select(JobRow)
        .join(DraftRow, DraftRow.job_id == JobRow.id)
        .where(
            DraftRow.attempt_id == attempt_id, DraftRow.upload_id == result.upload_id
        )
    )


def _checked(
    context: Context, job: JobRow, attempt_id: str, result: Result
) -> Provenance:
    """Return the provenance of a result that is this attempt's, to the last field."""
    upload = find_upload(context, result.upload_id)
    if upload.state != "complete":
        msg = f"upload {upload.id} is not complete"
        raise InvalidSpecError(msg)
    trainer = registration(context, TrainerRow, name=job.trainer)
    provenance = open_provenance(result.provenance, role_of(trainer))
    if provenance.subjects != subjects_of(manifest_of(upload)):
        msg = "the provenance is of other files than the upload"
        raise ProvenanceMismatchError(msg)
    if provenance.invocation != invocation_of(job.id, attempt_id):
        msg = f"the provenance is of another attempt than {attempt_id} at job {job.id}"
        raise ProvenanceMismatchError(msg)
    spec = parse_spec(job.kind, job.spec)
    if not provenance.is_of(spec):
        msg = f"the provenance is of another spec than job {job.id} asks for"
        raise ProvenanceMismatchError(msg)
    require_plausible(provenance, spec)
    return provenance
