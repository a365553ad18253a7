"""The job queue: rows in the database, each leased to one worker at a time.

ADR 4 and 5.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from model_zoo.errors import ConflictError, InvalidSpecError, NotFoundError
from model_zoo.http.responses import FINAL_STATES
from model_zoo.names import check_id
from model_zoo.statements.jobs import ChildSpec, JobSpec, foreign_names, kind_of
from service.accounts.registrations import registration
from service.context import Context
from service.database.tables import (
    AttemptRow,
    DraftRow,
    JobRow,
    TrainerRow,
    WorkerRow,
    new_id,
)
from service.jobs.attempts import reap
from service.jobs.events import NewEvent, record
from service.jobs.transitions import end, start
from service.releases.withdrawals import require_not_withdrawn_file

PRESENT = timedelta(seconds=60)
"""After so long without a request for a lease a worker counts as gone."""
NOTED_EVERY = timedelta(seconds=10)
"""How stale a worker's mark may grow: polling must not become a stream of writes."""

MAX_LISTED = 1000
"""Jobs that one listing returns, so that its cost is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """A worker's request for a lease: its trainer, the kinds it does, for how long.

    ``names`` are those of other packages that are installed where it runs.
    """

    trainer: str
    worker: str
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    lease_seconds: int


def submit(context: Context, trainer: str, spec: JobSpec) -> JobRow:
    """Queue a job for ``trainer``.

    Raises:
        NotFoundError: no such trainer.
        InvalidSpecError: it asks for a name of another package that no worker of the
            trainer ever offered.
        YankedError: what it would start from was withdrawn.
    """
    registration(context, TrainerRow, name=trainer)
    now = context.now()
    job = JobRow(
        id=new_id(),
        kind=kind_of(spec),
        trainer=trainer,
        spec=spec.to_object(),
        spec_digest=spec.digest(),
        state="queued",
        attempts=0,
        cancel_requested=False,
        last_event=0,
        created_at=now,
    )
    with context.database.writing() as session:
        if isinstance(spec, ChildSpec):
            require_not_withdrawn_file(session, spec.parent)
        _require_offered(session, trainer, foreign_names(spec))
        session.add(job)
        session.flush()
        record(session, job, [NewEvent("queued", {})], now=now)
    return job


def _require_offered(session: Session, trainer: str, names: Collection[str]) -> None:
    if not names:
        return
    lists = session.scalars(select(WorkerRow.names).where(WorkerRow.trainer == trainer))
    offered = {name for some in lists for name in some}
    absent = sorted(set(names) - offered)
    if absent:
        known = ", ".join(sorted(offered)) or "none of other packages"
        msg = f"trainer {trainer} has no {', '.join(absent)}; its workers offer {known}"
        raise InvalidSpecError(msg)


def find_job(context: Context, job_id: str) -> JobRow:
    """Return the job.

    Raises:
        InvalidSpecError: ``job_id`` is no id.
        NotFoundError: there is no such job.
    """
    check_id(job_id, what="job")
    with context.database.reading() as session:
        job = session.get(JobRow, job_id)
    if job is None:
        msg = f"no job {job_id}"
        raise NotFoundError(msg)
    return job


def find_draft(context: Context, job_id: str) -> DraftRow:
    """Return what the job made.

    Raises:
        NotFoundError: there is no such job, or it has not made anything.
    """
    job = find_job(context, job_id)
    with context.database.reading() as session:
        draft = session.get(DraftRow, job_id)
    if draft is None:
        msg = f"job {job_id} has no draft: it is {job.state}"
        raise NotFoundError(msg)
    return draft


def jobs(context: Context, *, state: str | None, trainer: str | None) -> list[JobRow]:
    """Return the newest ``MAX_LISTED`` jobs in a state, of a trainer, or of all."""
    query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id)
    query = query.limit(MAX_LISTED)
    if state is not None:
        query = query.where(JobRow.state == state)
    if trainer is not None:
        query = query.where(JobRow.trainer == trainer)
    with context.database.reading() as session:
        return list(session.scalars(query))


def claim(context: Context, request: LeaseRequest) -> tuple[AttemptRow, JobRow] | None:
    """Lease the oldest queued job that the worker can do; None if there is none.

    The claim is one UPDATE: of two workers, one finds no row left to change. It asks
    for the state twice, because a database with row locks may find the job in the
    subquery, wait for its lock, and get it after another worker has changed it.

    Raises:
        NotFoundError: no such trainer.
    """
    registration(context, TrainerRow, name=request.trainer)
    _note(context, request)
    reap(context)
    oldest = (
        select(JobRow.id)
        .where(
            JobRow.state == "queued",
            JobRow.trainer == request.trainer,
            JobRow.kind.in_(request.kinds),
        )
        .order_by(JobRow.created_at, JobRow.id)
        .limit(1)
    )
    # Polling workers must not wait for the one writer's lock to learn of nothing.
    with context.database.reading() as session:
        if session.scalar(oldest) is None:
            return None
    now = context.now()
    taken = (
        update(JobRow)
        .where(
            JobRow.id.in_(oldest.with_for_update(skip_locked=True)),
            JobRow.state == "queued",
        )
        .values(state="running", attempts=JobRow.attempts + 1, attempt_id=new_id())
        .returning(JobRow)
    )
    with context.database.writing() as session:
        job = session.scalar(taken)
        if job is None:
            return None
        attempt = start(
            session,
            job,
            worker=request.worker,
            lease_seconds=request.lease_seconds,
            now=now,
        )
        return attempt, job


def cancel(context: Context, job_id: str) -> JobRow:
    """Cancel a job: at once if it is queued, by its worker if it runs.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it succeeded or failed already.
    """
    find_job(context, job_id)
    with context.database.writing() as session:
        job = session.get_one(JobRow, job_id, with_for_update=True)
        if job.state in FINAL_STATES - {"cancelled"}:
            msg = f"job {job_id} {job.state} already"
            raise ConflictError(msg)
        job.cancel_requested = True
        if job.state == "queued":
            end(session, job, "cancelled", error=None, now=context.now())
    return job


def obstacle(context: Context, job: JobRow) -> str | None:
    """Return why a queued job does not run, where something is in its way."""
    return obstacles(context, [job]).get(job.id)


def obstacles(context: Context, rows: Iterable[JobRow]) -> dict[str, str]:
    """Return job id -> why that queued job does not run, where there is a reason.

    It takes two statements, however many jobs there are.
    """
    queued = [job for job in rows if job.state == "queued"]
    if not queued:
        return {}
    trainers = {job.trainer for job in queued}
    since = context.now() - PRESENT
    with context.database.reading() as session:
        workers = session.execute(
            select(WorkerRow.trainer, WorkerRow.kinds).where(
                WorkerRow.trainer.in_(trainers), WorkerRow.seen_at > since
            )
        ).all()
        busy = set(
            session.scalars(
                select(JobRow.trainer)
                .where(JobRow.trainer.in_(trainers), JobRow.state == "running")
                .distinct()
            )
        )
    kinds: dict[str, set[str]] = {}
    for trainer, some in workers:
        kinds.setdefault(trainer, set()).update(some)
    reasons = {
        job.id: _obstacle(job, kinds.get(job.trainer, set()), busy) for job in queued
    }
    return {job_id: reason for job_id, reason in reasons.items() if reason}


def _obstacle(job: JobRow, kinds: Collection[str], busy: Collection[str]) -> str | None:
    if job.trainer in busy:
        return f"the workers of trainer {job.trainer} are busy with other jobs"
    if not kinds:
        return f"no worker of trainer {job.trainer} has asked for work lately"
    if job.kind not in kinds:
        return f"no worker of trainer {job.trainer} does jobs of kind {job.kind}"
    return None


def _note(context: Context, request: LeaseRequest) -> None:
    """Record the request, from which ``obstacles`` tells why a job waits."""
    key, now = (request.trainer, request.worker), context.now()
    kinds, names = sorted(request.kinds), sorted(request.names)
    with context.database.reading() as session:
        seen = session.get(WorkerRow, key)
    is_known = seen is not None and (seen.kinds, seen.names) == (kinds, names)
    if seen and is_known and now - seen.seen_at < NOTED_EVERY:
        return
    with context.database.writing() as session:
        session.merge(
            WorkerRow(
                trainer=request.trainer,
                name=request.worker,
                kinds=kinds,
                names=names,
                seen_at=now,
            )
        )
