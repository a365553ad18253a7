"""Jobs: what users ask for, watch and cancel, and the drafts they end in."""

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from model_zoo.http.responses import JobState
from model_zoo.names import check_name
from model_zoo.statements.jobs import parse_spec
from model_zoo.statements.manifest import FileEntry
from service.api.schemas import Dsse, Incoming, JobOut, Name
from service.database.tables import DraftRow, EventRow, JobRow
from service.http.dependencies import ContextHere, StreamsHere
from service.http.files import blob_response
from service.jobs.queue import (
    cancel,
    find_draft,
    find_job,
    jobs,
    obstacle,
    obstacles,
    submit,
)
from service.jobs.streams import TooManyStreamsError
from service.uploads.sessions import manifest_of, require_file

router = APIRouter(tags=["jobs"])
MAX_EVENT_ID = 2**31 - 1
"""What the column of event numbers can hold."""
RETRY_SECONDS = 5
"""When to try again where every stream is taken."""
EVENT_SCHEMA = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("data", "event", "id")},
        "retry": {"type": "integer", "minimum": 0},
    },
}


class JobIn(Incoming):
    """What is asked of which trainer."""

    kind: Name
    trainer: str
    spec: dict[str, Any]


class JobsOut(BaseModel):
    """Several jobs, the newest first."""

    items: list[JobOut]


class DraftOut(BaseModel):
    """What a job made, as its trainer signed it."""

    files: list[FileEntry]
    provenance: Dsse

    @classmethod
    def of(cls, row: DraftRow) -> "DraftOut":
        """Return what the API says of a draft."""
        files = list(manifest_of(row.upload).files)
        return cls(files=files, provenance=row.provenance)


class EventStream(StreamingResponse):
    """Server-sent events; FastAPI's own kind fails when a client leaves early."""

    media_type = "text/event-stream"


@router.post("/jobs", status_code=HTTPStatus.ACCEPTED)
def submit_job(
    request: Request, response: Response, body: JobIn, context: ContextHere
) -> JobOut:
    """Queue a job; Location says where to watch it."""
    job = submit(context, body.trainer, parse_spec(body.kind, body.spec))
    response.headers["Location"] = f"{request.url.path}/{job.id}"
    return JobOut.of(job, obstacle(context, job))


@router.get("/jobs")
def list_jobs(
    context: ContextHere, state: JobState | None = None, trainer: str | None = None
) -> JobsOut:
    """Return jobs, the newest first, at most 1,000."""
    if trainer is not None:
        check_name(trainer, what="trainer")
    rows = jobs(context, state=state, trainer=trainer)
    reasons = obstacles(context, rows)
    return JobsOut(items=[JobOut.of(row, reasons.get(row.id)) for row in rows])


@router.get("/jobs/{job_id}")
def show_job(job_id: str, context: ContextHere) -> JobOut:
    """Return a job as it stands."""
    job = find_job(context, job_id)
    return JobOut.of(job, obstacle(context, job))


@router.post("/jobs/{job_id}/cancel", status_code=HTTPStatus.ACCEPTED)
def cancel_job(job_id: str, context: ContextHere) -> JobOut:
    """Ask for a job's end: at once if it waits, by its worker if it runs."""
    job = cancel(context, job_id)
    return JobOut.of(job, obstacle(context, job))


def _job(job_id: str, context: ContextHere) -> JobRow:
    return find_job(context, job_id)


async def _place(
    job: Annotated[JobRow, Depends(_job)], streams: StreamsHere
) -> AsyncIterator[None]:
    """Hold a place for a stream until its response has ended."""
    with ExitStack() as held:
        try:
            held.enter_context(streams.place(job.id))
        except TooManyStreamsError as error:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "as many streams of events are open as there may be; try again",
                headers={"Retry-After": str(RETRY_SECONDS)},
            ) from error
        yield


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventStream,
    responses={
        200: {"content": {EventStream.media_type: {"itemSchema": EVENT_SCHEMA}}}
    },
    dependencies=[Depends(_place)],
)
async def watch_job(
    job_id: str,
    streams: StreamsHere,
    last_event_id: Annotated[int, Header(ge=0, le=MAX_EVENT_ID)] = 0,
) -> EventStream:
    """Stream what happens to a job, from the event after Last-Event-ID to the last."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return EventStream(_spelled(streams.follow(job_id, last_event_id)), headers=headers)


async def _spelled(events: AsyncIterator[EventRow | None]) -> AsyncIterator[bytes]:
    async for event in events:
        if event is None:
            yield KEEPALIVE_COMMENT
        else:
            data, number = json.dumps(event.data), str(event.sequence)
            yield format_sse_event(data_str=data, event=event.type, id=number)


@router.get("/jobs/{job_id}/draft")
def show_draft(job_id: str, context: ContextHere) -> DraftOut:
    """Return what a job made, as its trainer signed it."""
    return DraftOut.of(find_draft(context, job_id))


@router.head("/jobs/{job_id}/draft/files/{name}")
@router.get("/jobs/{job_id}/draft/files/{name}")
def download_draft_file(
    request: Request, job_id: str, name: str, context: ContextHere
) -> Response:
    """Return a file of a draft, as the files of releases are."""
    upload = find_draft(context, job_id).upload
    return blob_response(request, context, require_file(upload, name))
