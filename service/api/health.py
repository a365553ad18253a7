"""Health: for those who start, watch and route to the service; no token needed."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from model_zoo.clock import rfc3339
from service.http.dependencies import ContextHere
from service.loops import Loop
from service.repository.expiry import read_freshness

router = APIRouter(tags=["health"])


class AliveOut(BaseModel):
    """The process answers."""

    status: str


class LoopOut(BaseModel):
    """How one thing goes that is done again and again; ``error`` is a type's name."""

    failures: int
    succeeded_at: str | None
    error: str | None


class ReadyOut(BaseModel):
    """Whether what the service needs is there."""

    database: bool
    storage: bool
    fresh: bool
    expiring: list[str]
    loops: dict[str, LoopOut]


@router.get("/healthz")
def tell_alive() -> AliveOut:
    """Say that the process answers."""
    return AliveOut(status="ok")


@router.get("/readyz")
def tell_ready(request: Request, response: Response, context: ContextHere) -> ReadyOut:
    """Say whether database and storage are there; 503 if one is not, or is too old.

    So it is if one of the ``loops`` has failed again and again. ``expiring`` lists the
    roles that clients will refuse before long; a publisher whose own role has expired
    takes nobody else along.
    """
    found = read_freshness(context)
    ready = ReadyOut(
        database=found.database,
        storage=context.blobs.is_writable(),
        fresh=found.fresh,
        expiring=[str(it) for it in found.expiring],
        loops={it.name: _loop_out(it) for it in request.app.state.loops},
    )
    is_well = all(it.is_well for it in request.app.state.loops)
    if not (ready.database and ready.storage and ready.fresh and is_well):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ready


def _loop_out(loop: Loop) -> LoopOut:
    succeeded = None if loop.succeeded_at is None else rfc3339(loop.succeeded_at)
    return LoopOut(failures=loop.failures, succeeded_at=succeeded, error=loop.error)
