"""Work: what a trainer's worker calls. 409 means: stop the attempt and forget it."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.errors import InvalidSpecError
from model_zoo.names import check_name
from model_zoo.statements.dsse import Envelope
from service.api.schemas import (
    CompletionIn,
    EventsIn,
    FailureIn,
    HeartbeatOut,
    JobOut,
    LeaseIn,
    LeaseOut,
    NothingIn,
)
from service.http.dependencies import PartsHere
from service.jobs.attempts import Result, complete, fail, give_up, renew, report
from service.jobs.events import Happening
from service.jobs.queue import Applicant, claim

router = APIRouter(tags=["work"])
MAX_JSON_BYTES = 64 * 1024


@router.post(
    "/trainers/{name}/leases",
    response_model=LeaseOut,
    responses={HTTPStatus.NO_CONTENT.value: {"description": "Nothing to do"}},
)
def lease_job(name: str, body: LeaseIn, parts: PartsHere) -> LeaseOut | Response:
    """Lease the oldest job that the worker can do; 204 if there is none."""
    applicant = Applicant(
        trainer=name,
        worker=check_name(body.worker, what="worker"),
        kinds=tuple(body.kinds),
        names=tuple(body.names),
        lease_seconds=body.lease_seconds,
    )
    claimed = claim(parts, applicant)
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
    attempt_id: str, parts: PartsHere, _body: NothingIn | None = None
) -> HeartbeatOut:
    """Prolong the lease and learn whether the job was cancelled."""
    return HeartbeatOut(cancel=renew(parts, attempt_id))


@router.post("/attempts/{attempt_id}/events", status_code=HTTPStatus.NO_CONTENT)
def report_events(attempt_id: str, body: EventsIn, parts: PartsHere) -> None:
    """Tell how the attempt gets on."""
    _check_size([event.data for event in body.events])
    happenings = [Happening(event.type, event.data) for event in body.events]
    report(parts, attempt_id, happenings)


@router.post("/attempts/{attempt_id}/complete")
def complete_attempt(attempt_id: str, body: CompletionIn, parts: PartsHere) -> JobOut:
    """End the job with a draft, if the trainer signed that it is what was asked for."""
    _check_size([body.claimed_evaluation or {}])
    result = Result(
        upload_id=body.upload,
        provenance=Envelope.from_object(body.provenance),
        claimed_evaluation=body.claimed_evaluation,
    )
    return JobOut.of(parts, complete(parts, attempt_id, result))


@router.post("/attempts/{attempt_id}/fail")
def fail_attempt(attempt_id: str, body: FailureIn, parts: PartsHere) -> JobOut:
    """End an attempt that did not work."""
    job = fail(parts, attempt_id, error=body.error, retry=body.retry)
    return JobOut.of(parts, job)


@router.post("/attempts/{attempt_id}/cancelled")
def cancel_attempt(
    attempt_id: str, parts: PartsHere, _body: NothingIn | None = None
) -> JobOut:
    """End an attempt that stopped because its job was cancelled."""
    return JobOut.of(parts, give_up(parts, attempt_id))


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
