"""Leases and attempts: what a trainer's worker calls. 409: stop the attempt, forget it.

ADR 4 and 5.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.errors import InvalidSpecError
from model_zoo.http.responses import Heartbeat
from model_zoo.names import check_name
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.recipes import OfferedName
from service.api.schemas import Dsse, Incoming, JobOut, Name
from service.http.dependencies import ContextHere
from service.jobs.attempts import Result, complete, fail, give_up, renew, report
from service.jobs.events import NewEvent
from service.jobs.queue import LeaseRequest, claim, obstacle

router = APIRouter(tags=["work"])
MAX_JSON_BYTES = 64 * 1024
"""Of the events of one report, or of a claimed evaluation: both are kept."""
MAX_EVENTS = 64
MAX_ERROR_CHARACTERS = 16_384


class NothingIn(Incoming):
    """An empty object, or no body at all."""


class LeaseIn(Incoming):
    """A worker that asks for work."""

    worker: str
    kinds: Annotated[list[Name], Field(min_length=1, max_length=64)]
    names: Annotated[list[OfferedName], Field(max_length=1024, default_factory=list)]
    lease_seconds: Annotated[int, Field(ge=5, le=300)]


class EventIn(Incoming):
    """Something a worker tells of its attempt."""

    type: Annotated[str, Field(pattern=r"^(progress|log)$")]
    data: dict[str, Any]


class EventsIn(Incoming):
    """Several of them, in order."""

    events: Annotated[list[EventIn], Field(max_length=MAX_EVENTS)]


class CompletionIn(Incoming):
    """What an attempt made."""

    upload: str
    provenance: Dsse
    claimed_evaluation: dict[str, Any] | None = None


class FailureIn(Incoming):
    """Why an attempt did not work, and whether another one might."""

    error: Annotated[str, Field(max_length=MAX_ERROR_CHARACTERS)]
    retry: bool


class LeaseOut(BaseModel):
    """A job that a worker now holds."""

    attempt: str
    number: int
    job: str
    kind: str
    spec: dict[str, Any]
    lease_seconds: int


class HeartbeatOut(Heartbeat):
    """Whether somebody wants the job cancelled."""


@router.post(
    "/trainers/{name}/leases",
    response_model=LeaseOut,
    responses={HTTPStatus.NO_CONTENT.value: {"description": "Nothing to do"}},
)
def lease_job(name: str, body: LeaseIn, context: ContextHere) -> LeaseOut | Response:
    """Lease the oldest job that the worker can do; 204 if there is none."""
    request = LeaseRequest(
        trainer=name,
        worker=check_name(body.worker, what="worker"),
        kinds=tuple(body.kinds),
        names=tuple(body.names),
        lease_seconds=body.lease_seconds,
    )
    claimed = claim(context, request)
    if claimed is None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    attempt, job = claimed
    return LeaseOut(
        attempt=attempt.id,
        number=attempt.number,
        job=job.id,
        kind=job.kind,
        spec=job.spec,
        lease_seconds=attempt.lease_seconds,
    )


@router.post("/attempts/{attempt_id}/heartbeat")
def renew_lease(
    attempt_id: str, context: ContextHere, _body: NothingIn | None = None
) -> HeartbeatOut:
    """Prolong the lease and learn whether the job was cancelled."""
    return HeartbeatOut(cancel=renew(context, attempt_id))


@router.post("/attempts/{attempt_id}/events", status_code=HTTPStatus.NO_CONTENT)
def report_events(attempt_id: str, body: EventsIn, context: ContextHere) -> None:
    """Tell how the attempt gets on."""
    _check_size([event.data for event in body.events])
    events = [NewEvent(event.type, event.data) for event in body.events]
    report(context, attempt_id, events)


@router.post("/attempts/{attempt_id}/complete")
def complete_attempt(
    attempt_id: str, body: CompletionIn, context: ContextHere
) -> JobOut:
    """End the job with a draft, if the trainer signed that it is what was asked for."""
    _check_size([body.claimed_evaluation or {}])
    result = Result(
        upload_id=body.upload,
        provenance=Envelope.from_object(body.provenance),
        claimed_evaluation=body.claimed_evaluation,
    )
    job = complete(context, attempt_id, result)
    return JobOut.of(job, obstacle(context, job))


@router.post("/attempts/{attempt_id}/fail")
def fail_attempt(attempt_id: str, body: FailureIn, context: ContextHere) -> JobOut:
    """End an attempt that did not work."""
    job = fail(context, attempt_id, error=body.error, retry=body.retry)
    return JobOut.of(job, obstacle(context, job))


@router.post("/attempts/{attempt_id}/cancelled")
def cancel_attempt(
    attempt_id: str, context: ContextHere, _body: NothingIn | None = None
) -> JobOut:
    """End an attempt that stopped because its job was cancelled."""
    job = give_up(context, attempt_id)
    return JobOut.of(job, obstacle(context, job))


def _check_size(values: list[JsonObject]) -> None:
    """Refuse what canonical JSON cannot spell, and more of it than anyone reads."""
    try:
        size_bytes = len(canonical_json(values))
    except ValueError as error:
        msg = f"not JSON: {error}"
        raise InvalidSpecError(msg) from error
    if size_bytes > MAX_JSON_BYTES:
        msg = f"{size_bytes} bytes of JSON where at most {MAX_JSON_BYTES} are kept"
        raise InvalidSpecError(msg)
