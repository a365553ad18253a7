"""FastAPI's dependencies of the routes: the context, and the streams of events."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from service.context import Context
from service.jobs.streams import EventStreams


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextHere = Annotated[Context, Depends(_context)]


def _streams(request: Request) -> EventStreams:
    streams: EventStreams = request.app.state.streams
    return streams


StreamsHere = Annotated[EventStreams, Depends(_streams)]
