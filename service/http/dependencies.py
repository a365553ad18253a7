"""What every route is given."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from service.context import Parts
from service.jobs.streams import EventStreams


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsHere = Annotated[Parts, Depends(_parts)]


def _streams(request: Request) -> EventStreams:
    streams: EventStreams = request.app.state.streams
    return streams


StreamsHere = Annotated[EventStreams, Depends(_streams)]
