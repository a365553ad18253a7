"""Health: for those who start, watch and route to the service; no token needed."""

import os
from http import HTTPStatus

from fastapi import APIRouter, Response
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service.api.dependencies import PartsHere
from service.api.schemas import AliveOut, ReadyOut

router = APIRouter(tags=["health"])


@router.get("/healthz")
def tell_alive() -> AliveOut:
    """Say that the process answers."""
    return AliveOut(status="ok")


@router.get("/readyz")
def tell_ready(response: Response, parts: PartsHere) -> ReadyOut:
    """Say whether database and storage are there; 503 if one is not."""
    try:
        with parts.database.reading() as session:
            session.scalar(select(1))
    except SQLAlchemyError:
        database = False
    else:
        database = True
    storage = os.access(parts.blobs.root, os.W_OK)
    if not (database and storage):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyOut(database=database, storage=storage)
