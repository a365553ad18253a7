"""Bounds on connections: how many there are, how large and how slow each may be.

Everything here is bounded where bytes arrive, before there is a request to look at.

ADR 29: why the parser is httptools, and why no bound is on an address.

Source:
    RFC 9112; RFC 6585, section 5 (431); uvicorn's protocol over httptools.
"""

import asyncio
import fcntl
import math
import resource
import socket
import ssl
import sys
import termios
from asyncio.sslproto import SSLProtocol
from asyncio.trsock import TransportSocket
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.http.errors import refusal
from service.http.guards import STRANGER

MAX_HEAD_BYTES = 32 * 1024
"""Of a head with its trailers; and of anything that is no payload, between payload."""
MAX_HEADER_FIELDS = 100
MAX_PIPELINED = 8
"""Requests sent before the answer to the first; each that waits is kept in memory."""
MIN_BODY_BYTES_PER_SECOND = 1024
RESERVED_DESCRIPTORS = 256
"""For the database's connections, the log, and files that threads read."""
DESCRIPTORS_PER_CONNECTION = 2
"""Its socket, and the file that is sent or received over it."""
RETRY_SECONDS = 5


class _TooMuchError(Exception):
    """Raised in a callback of the parser, so that it stops."""


@dataclass(slots=True, kw_only=True)
class Connections:
    """Every open connection, TLS handshakes under way included, and their bounds.

    Attributes:
        limit: how many there may be.
        head_seconds: for a handshake, and from the end of one answer (or the accepted
            connection) to the end of the next head.
        stall_seconds: how long a client may take no byte of an answer, and the window
            in which a body must keep its least rate.
        tls: where https is spoken.
    """

    limit: int
    head_seconds: float
    stall_seconds: float
    tls: ssl.SSLContext | None
    open: set["BoundedProtocol"] = field(default_factory=set)

    def protocol(self, **given: Any) -> asyncio.BaseProtocol:  # noqa: ANN401  uvicorn's
        """Return the protocol of a connection that was accepted."""
        http = BoundedProtocol(connections=self, **given)
        return http if self.tls is None else _TlsProtocol(http, self.tls)

    def admit(self, new: "BoundedProtocol") -> bool:
        """Count ``new`` in; where all are taken, drop the one that waited longest.

        Only a connection that has no request under way, or a stranger's, may be
        dropped: whoever half-sends heads makes room for whoever sends a whole one, and
        whoever was refused cannot hold a place by not reading so.
        """
        if len(self.open) >= self.limit:
            waiting = [it for it in self.open if it.is_waiting() or it.is_strangers()]
            if not waiting:
                return False
            min(waiting, key=lambda it: it.waiting_since).drop()
        self.open.add(new)
        return True

    def check(self) -> None:
        """End connections that are too slow; call it about once a second."""
        now = asyncio.get_running_loop().time()
        for connection in tuple(self.open):
            connection.check(now)


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 over one connection, none of whose parts may grow or last for ever."""

    def __init__(self, *, connections: Connections, **given: Any) -> None:  # noqa: ANN401
        super().__init__(**given)
        self._all = connections
        self.head_seconds = connections.head_seconds
        self._raw: asyncio.Transport | None = None
        self._begun = False
        self._newest: RequestResponseCycle | None = None
        self._running: RequestResponseCycle | None = None
        self.waiting_since = self.loop.time()
        self._head_bytes = self._fields = self._idle_bytes = 0
        self._in_body = False
        self._window_bytes, self._window_since = 0, self.waiting_since
        self._unsent_bytes, self._taken_at = 0, self.waiting_since

    def enter(self, raw: asyncio.Transport) -> bool:
        """Take a place for a connection that was accepted; False if there is none."""
        self._raw = raw
        return self._all.admit(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or say that the zoo is full; over TLS there is a place already."""
        if self._raw is not None or self.enter(transport):
            self._begun = True
            super().connection_made(transport)
        else:
            detail = "the zoo has as many requests under way as it may"
            transport.write(_answer(HTTPStatus.SERVICE_UNAVAILABLE, detail))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out."""
        self.leave()
        self._disconnect()
        if self._begun:
            super().connection_lost(exc)

    def leave(self) -> None:
        """Give the place back."""
        self._all.open.discard(self)

    def drop(self) -> None:
        """End the connection at once."""
        self.leave()
        self._disconnect()
        if self._raw is not None:
            self._raw.abort()

    def _start_asgi_task(
        self, cycle: RequestResponseCycle, app: ASGI3Application
    ) -> None:
        """Remember whose turn it is: of pipelined requests not the newest."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _disconnect(self) -> None:
        """Let the application touch a transport that is gone no more."""
        for cycle in (self._running, self._newest):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    # What arrives.

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; refuse more than 32 KiB that is neither head nor payload."""
        if self.transport.is_closing():
            return
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_size()

    def on_message_begin(self) -> None:
        """Start to count a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self.drop()
            raise _TooMuchError
        self._head_bytes = self._fields = self._idle_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field of the head, or of the trailers."""
        self._fields += 1
        self._count(name, value)
        super().on_header(name, value)

    def _count(self, *texts: bytes) -> None:
        self._head_bytes += sum(map(len, texts))
        if self._head_bytes > MAX_HEAD_BYTES or self._fields > MAX_HEADER_FIELDS:
            self._refuse_size()
            raise _TooMuchError

    def on_headers_complete(self) -> None:
        """Start the first window of the body."""
        self._in_body = True
        self._window_bytes, self._window_since = 0, self.loop.time()
        super().on_headers_complete()
        self._newest = self.cycle

    def on_body(self, body: bytes) -> None:
        """Count payload."""
        self._idle_bytes = 0
        self._window_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop to watch the body."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next head from now on."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Note that the client took something."""
        self._taken_at = self.loop.time()
        super().resume_writing()

    # What does not.

    def is_waiting(self) -> bool:
        """Whether no request is under way: it is not there, or its answer is gone."""
        if self._newest is None:
            return True
        return self._newest.response_complete and self._unsent() == 0

    def is_strangers(self) -> bool:
        """Whether the request whose answer is due came without the token."""
        running = self._running
        return running is not None and bool(running.scope["state"].get(STRANGER))

    def check(self, now: float) -> None:
        """End the connection if its client was too slow for too long."""
        if not self._begun:
            return  # the handshake has a limit of its own
        if self._is_stalled(now):
            self.drop()
        elif self.transport.is_closing():
            return
        elif self._in_body:
            self._check_body(now)
        elif self.is_waiting() and now - self.waiting_since > self.head_seconds:
            detail = f"no request within {self.head_seconds:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail)

    def _is_stalled(self, now: float) -> bool:
        """Whether bytes wait for a client that took none for too long."""
        unsent = self._unsent()
        if unsent == 0 or unsent < self._unsent_bytes:
            self._taken_at = now
        self._unsent_bytes = unsent
        return now - self._taken_at > self._all.stall_seconds

    def _unsent(self) -> int:
        """Return how many bytes wait for the client: here, in TLS, in the system.

        The system takes more from us only when a third of its megabytes is free; what
        it still has to send shows sooner that a slow client took something.
        """
        unsent = self.transport.get_write_buffer_size()
        if self._raw is not None and self._raw is not self.transport:
            unsent += self._raw.get_write_buffer_size()
        return unsent and unsent + queued(self.transport.get_extra_info("socket"))

    def _check_body(self, now: float) -> None:
        if self.flow.read_paused:  # the application is slow, not the client
            self._window_bytes, self._window_since = 0, now
        seconds = now - self._window_since
        if seconds <= self._all.stall_seconds:
            return
        if self._window_bytes < seconds * MIN_BODY_BYTES_PER_SECOND:
            detail = f"a body comes at {MIN_BODY_BYTES_PER_SECOND} bytes a second"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"{detail} or more")
        self._window_bytes, self._window_since = 0, now

    # What is said of it.

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; a refusal by one of our callbacks comes first."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse_size(self) -> None:
        detail = (
            f"a head has at most {MAX_HEAD_BYTES} bytes and {MAX_HEADER_FIELDS} fields"
        )
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer and close, or only close where another request's answer is due."""
        if self.transport.is_closing():
            return
        begun = not self.is_waiting() and self.cycle.response_started
        if not begun and (self._in_body or self.is_waiting()):
            self.transport.write(_answer(status, detail))
            self.transport.close()
        else:
            self.drop()


class _TlsProtocol(SSLProtocol):
    """TLS before HTTP: a place is taken before the handshake begins, not after it.

    A server that is made with ``ssl=`` shows us a connection only after its handshake.
    """

    def __init__(self, http: BoundedProtocol, context: ssl.SSLContext) -> None:
        super().__init__(
            http.loop,
            http,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=math.ceil(http.head_seconds),
        )
        self._http = http
        self._entered = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the handshake, or end where the zoo is full."""
        self._entered = self._http.enter(transport)
        if self._entered:
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count the connection out, also where its handshake failed."""
        if self._entered:
            self._http.leave()
            super().connection_lost(exc)


def raise_descriptor_limit() -> int:
    """Raise the limit on open files as far as this process may; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a system that has a lower limit of its own
        return soft
    return hard


def affordable(wanted: int, *, descriptors: int) -> int:
    """Return how many connections there may be: no more than have their descriptors."""
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    left = max(descriptors - RESERVED_DESCRIPTORS, DESCRIPTORS_PER_CONNECTION)
    return min(wanted, left // DESCRIPTORS_PER_CONNECTION)


def queued(connection: socket.socket | TransportSocket) -> int:
    """Return how many bytes the system has that the other side did not acknowledge.

    Source:
        tcp(7), SIOCOUTQ, which is TIOCOUTQ.
    """
    try:
        unsent = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # closed meanwhile, or no such question here
        return 0
    return int.from_bytes(unsent, sys.byteorder)


def _answer(status: HTTPStatus, detail: str) -> bytes:
    """Return a whole answer with problem details, after which the connection ends."""
    headers = {"Connection": "close"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_SECONDS)
    problem = refusal("", status, detail, headers=headers)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [b"%s: %s" % pair for pair in problem.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(problem.body)])
