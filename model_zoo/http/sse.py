"""A job's events as server-sent events: bounded, resumed where the stream broke off.

ADR 36.

Source:
    WHATWG HTML, section "Server-sent events".
"""

import time
from collections.abc import Iterable, Iterator

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.errors import MalformedDocumentError, TransportError
from model_zoo.http.responses import FINAL_STATES, Answer
from model_zoo.http.transport import Transport

MAX_LINE_BYTES = 256 * 1024
MAX_EVENT_LINES = 64
MAX_BYTES_BETWEEN_EVENTS = 1024 * 1024
"""Comments and empty lines: at the service's own pace of them, those of weeks."""
MAX_DIGITS = 15
RECONNECTS = 5
"""How often in a row a connection may break off without a single new event."""
PAUSE_SECONDS = 0.5


class JobEvent(Answer):
    """One thing that happened to a job; ``sequence`` counts up from 1."""

    sequence: int
    type: str
    data: JsonObject

    @property
    def is_last(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self.type in FINAL_STATES


def follow(transport: Transport, job: str, *, after: int = 0) -> Iterator[JobEvent]:
    """Yield the events of ``job`` as they happen, until its last one.

    A connection that breaks off is made again with ``Last-Event-ID``, so no event
    is missed and none is told twice.

    Args:
        transport: the service.
        job: a checked id.
        after: the sequence number of the last event already known.

    Raises:
        NotFoundError: no such job.
        TransportError: the connection broke off RECONNECTS times without news.
        MalformedDocumentError: the server sends something else than events.
    """
    failures = 0
    while failures <= RECONNECTS:
        try:
            for event in _connected(transport, job, after=after):
                after, failures = event.sequence, 0
                yield event
                if event.is_last:
                    return
        except TransportError:
            if failures == RECONNECTS:
                raise
        failures += 1
        time.sleep(PAUSE_SECONDS)
    msg = f"job {job}: its stream ended {RECONNECTS} times without a last event"
    raise TransportError(msg)


def parse_events(pieces: Iterable[bytes]) -> Iterator[JobEvent]:
    """Yield the events in a stream, however it is cut into pieces.

    Raises:
        MalformedDocumentError: a line or event over the bounds, or not one of ours.
    """
    fields: list[tuple[str, str]] = []
    since_last = 0
    for line in _lines(pieces):
        since_last += len(line) + 1
        if not line:
            if any(name == "data" for name, _ in fields):
                yield _event(fields)
                since_last = 0
            fields = []
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields.append((name, value.removeprefix(" ")))
        if len(fields) > MAX_EVENT_LINES:
            msg = f"an event of more than {MAX_EVENT_LINES} lines"
            raise MalformedDocumentError(msg)
        if since_last > MAX_BYTES_BETWEEN_EVENTS:
            msg = f"no event in {MAX_BYTES_BETWEEN_EVENTS} bytes of a stream of events"
            raise MalformedDocumentError(msg)


def _connected(transport: Transport, job: str, *, after: int) -> Iterator[JobEvent]:
    headers = {"Accept": "text/event-stream"}
    if after:
        headers["Last-Event-ID"] = str(after)
    with transport.stream(f"/jobs/{job}/events", headers) as pieces:
        for event in parse_events(pieces):
            if event.sequence > after:
                yield event


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield lines; our service ends them with LF or CR LF, and never with CR alone."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in (*lines, rest):
            if len(line) > MAX_LINE_BYTES:
                msg = f"an event line of more than {MAX_LINE_BYTES} bytes"
                raise MalformedDocumentError(msg)
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", errors="replace")


def _event(fields: list[tuple[str, str]]) -> JobEvent:
    last = dict(fields)
    data = "\n".join(value for name, value in fields if name == "data")
    number = last.get("id", "")
    if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
        msg = "an event without a sequence number"
        raise MalformedDocumentError(msg)
    try:
        value = parse_object(data.encode(), limit_bytes=MAX_LINE_BYTES)
    except ValueError as error:
        msg = f"event {number}: {error}"
        raise MalformedDocumentError(msg) from error
    return JobEvent(sequence=int(number), type=last.get("event", "message"), data=value)
