"""Health: for those who start, watch and route to the service; no token needed."""

import os
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from model_zoo.clock import rfc3339
from model_zoo.errors import ZooError
from service.api.schemas import AliveOut, LoopOut, ReadyOut
from service.http.dependencies import ContextHere
from service.loops import Loop
from service.repository.expiry import Expiring, expiring

router = APIRouter(tags=["health"])


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
    dying: list[Expiring] = []
    database = fresh = True
    try:
        with context.database.reading() as session:
            dying = expiring(session, now=context.now())
    except SQLAlchemyError:
        database = False
    except (ZooError, ValueError):  # there is metadata that nobody can read
        fresh = False
    stopping = [it for it in dying if it.stops_everybody]
    fresh = fresh and all(it.expires > context.now() for it in stopping)
    storage = os.access(context.blobs.root, os.W_OK)
    loops: tuple[Loop, ...] = request.app.state.loops
    if not (database and storage and fresh and all(it.is_well for it in loops)):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyOut(
        database=database,
        storage=storage,
        fresh=fresh,
        expiring=[str(it) for it in dying],
        loops={it.name: _told(it) for it in loops},
    )


def _told(loop: Loop) -> LoopOut:
    succeeded = None if loop.succeeded_at is None else rfc3339(loop.succeeded_at)
    return LoopOut(failures=loop.failures, succeeded_at=succeeded, error=loop.error)
