"""Health: for those who start, watch and route to the service; no token needed."""

import os
from http import HTTPStatus

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from service.api.dependencies import PartsHere
from service.api.schemas import AliveOut, ReadyOut
from service.trust.freshness import Expiring, expiring

router = APIRouter(tags=["health"])


@router.get("/healthz")
def tell_alive() -> AliveOut:
    """Say that the process answers."""
    return AliveOut(status="ok")


@router.get("/readyz")
def tell_ready(response: Response, parts: PartsHere) -> ReadyOut:
    """Say whether database and storage are there; 503 if one is not, or is too old.

    ``expiring`` lists the roles that clients will refuse before long. A publisher whose
    own role has expired takes nobody else along.
    """
    dying: list[Expiring] = []
    try:
        with parts.database.reading() as session:
            dying = expiring(session, now=parts.now())
    except SQLAlchemyError:
        database = False
    else:
        database = True
    storage = os.access(parts.blobs.root, os.W_OK)
    fresh = all(it.expires > parts.now() for it in dying if it.stops_everybody)
    if not (database and storage and fresh):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyOut(
        database=database,
        storage=storage,
        fresh=fresh,
        expiring=[str(it) for it in dying],
    )
