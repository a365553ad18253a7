"""Streams of jobs' events: however many watch, the database is asked once for all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import load_only
from starlette.concurrency import run_in_threadpool

from model_zoo.http.responses import FINAL_STATES
from service.context import Context
from service.database.tables import EventRow, JobRow
from service.jobs.events import events_after

log = logging.getLogger(__name__)

QUIET_SECONDS = 15.0
"""Proxies take a connection for dead that says nothing for much longer."""


class TooManyStreamsError(Exception):
    """The job, or the service, has as many streams as it may."""


@dataclass(slots=True)
class _Topic:
    """A job that is watched: by how many, and how far it is known to be."""

    streams: int = 0
    last_event: int = 0
    has_ended: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    reads: dict[int, asyncio.Task[list[EventRow]]] = field(default_factory=dict)


class EventStreams:
    """The streams that are open, and one poller for all the jobs they watch.

    One statement at a time asks how far those jobs are. Streams that stand at the same
    event share one read of what follows it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._topics: dict[str, _Topic] = {}
        self._poller: asyncio.Task[None] | None = None

    @contextmanager
    def place(self, job_id: str) -> Iterator[None]:
        """Take a place for one more stream of the job, until the block is left.

        Raises:
            TooManyStreamsError: there is none.
        """
        settings = self._context.settings
        open_streams = sum(topic.streams for topic in self._topics.values())
        topic = self._topics.get(job_id, _Topic())
        if (
            open_streams >= settings.max_streams
            or topic.streams >= settings.max_streams_per_job
        ):
            raise TooManyStreamsError
        self._topics[job_id] = topic
        topic.streams += 1
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll_forever())
        try:
            yield
        finally:
            self._leave(job_id, topic)

    def _leave(self, job_id: str, topic: _Topic) -> None:
        topic.streams -= 1
        if topic.streams == 0:
            del self._topics[job_id]
        if not self._topics and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    async def follow(self, job_id: str, after: int) -> AsyncIterator[EventRow | None]:
        """Yield the job's events after number ``after``, to its last; None when quiet.

        After the last event of an ended job it yields nothing and ends: a browser
        reconnects when a stream ends, and would hold a place for ever. The caller
        holds a place.
        """
        topic = self._topics[job_id]
        while True:
            for event in await self._read(topic, job_id, after):
                after = event.sequence
                yield event
                if event.type in FINAL_STATES:
                    return
            while topic.last_event <= after:
                if topic.has_ended:
                    return
                try:
                    await asyncio.wait_for(topic.changed.wait(), QUIET_SECONDS)
                except TimeoutError:
                    yield None

    async def _read(self, topic: _Topic, job_id: str, after: int) -> list[EventRow]:
        """Return the next events, read once for all who wait for the same."""
        read = topic.reads.get(after)
        if read is None:
            read = asyncio.create_task(
                run_in_threadpool(events_after, self._context, job_id, after)
            )
            topic.reads[after] = read
            read.add_done_callback(lambda _: topic.reads.pop(after, None))
        # A stream that is closed meanwhile must not cancel the read of the others.
        return await asyncio.shield(read)

    async def _poll_forever(self) -> None:
        while True:
            try:
                known = await run_in_threadpool(self._last_events, list(self._topics))
            except SQLAlchemyError:
                log.exception("watched jobs could not be read; trying again")
                known = {}
            for job_id, (last_event, state) in known.items():
                topic = self._topics.get(job_id)
                if topic is not None and topic.last_event != last_event:
                    topic.last_event = last_event
                    topic.has_ended = state in FINAL_STATES
                    # Who waits holds the old event; who comes later waits for the next.
                    topic.changed.set()
                    topic.changed = asyncio.Event()
            await asyncio.sleep(self._context.settings.event_poll_seconds)

    def _last_events(self, job_ids: list[str]) -> dict[str, tuple[int, str]]:
        query = select(JobRow).where(JobRow.id.in_(job_ids))
        query = query.options(load_only(JobRow.last_event, JobRow.state))
        with self._context.database.reading() as session:
            jobs = session.scalars(query)
            return {job.id: (job.last_event, job.state) for job in jobs}
