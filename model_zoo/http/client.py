"""The one HTTP client: every request of ours is sent and answered here.

Never redirected, through no proxy, with the certificates and the token of one server;
what an answer may cost is in ``model_zoo.http.deadlines``. ADR 30.
"""

import http.client
import ssl
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING, Self

from model_zoo.errors import (
    MalformedDocumentError,
    TransportError,
    UntrustedServerError,
)
from model_zoo.http.connections import Accepts, PacedConnection
from model_zoo.http.deadlines import Allowance, DownloadLimits, attempt
from model_zoo.http.refusals import MAX_REFUSAL_BYTES, refusal
from model_zoo.http.server import Server
from model_zoo.text import printable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE_BYTES = 64 * 1024
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
MAX_DIGITS = 15
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked; ``path`` is the whole target, the server's base path included."""

    method: str = "GET"
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether asking twice does nothing twice."""
        return self.method in _IDEMPOTENT


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body is still on the way."""

    url: str
    raw: http.client.HTTPResponse
    allowance: Allowance

    @property
    def status(self) -> int:
        """The final status."""
        return self.raw.status

    @property
    def headers(self) -> Message:
        """The head's fields."""
        return self.raw.headers

    @property
    def announced_bytes(self) -> int | None:
        """What ``Content-Length`` says; None where it says nothing that can be."""
        return _announced_bytes(self.headers)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives, to its announced end.

        Raises:
            TransportError: it broke off, or a limit was passed.
        """
        self.allowance.reading(is_framed=self.raw.chunked, has_deadline=True)
        yield from self._pieces()

    def stream(self) -> Iterator[bytes]:
        """Yield the body of an answer that need not end: silence is what ends it.

        Raises:
            TransportError: it broke off, or no line was completed for too long.
        """
        self.allowance.reading(is_framed=self.raw.chunked, has_deadline=False)
        self.allowance.streaming()
        for piece in self._pieces():
            if b"\n" in piece:
                self.allowance.streaming()
            yield piece

    def begin_file(self) -> int:
        """Return how long the body is that ``readinto`` brings from here on.

        A file is announced with its length: chunks would bring framing and trailers,
        and a body that ends with its connection may be half of one.

        Raises:
            MalformedDocumentError: there is no ``Content-Length``.
        """
        length = self.raw.length
        if length is None:
            msg = f"{self.url}: a file without a Content-Length, which says its length"
            raise MalformedDocumentError(msg)
        self.allowance.reading(is_framed=False, has_deadline=False)
        return length

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read more of a file into ``buffer``; 0 at the end of what came."""
        with _translated(self.url):
            return self.raw.readinto(buffer)

    def read(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            MalformedDocumentError: it is longer than ``limit_bytes``.
            TransportError: it did not arrive in time.
        """
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > limit_bytes:
                msg = f"{self.url}: an answer of over {limit_bytes} bytes"
                raise MalformedDocumentError(msg)
        return bytes(body)

    def require_success(self) -> None:
        """Accept a status of success; raise any other as the refusal that it is.

        Raises:
            ZooError: what the server refused with.
        """
        if self.status not in _SUCCESS:
            raise refusal(self.status, self._explanation(), url=self.url)

    def _explanation(self) -> bytes:
        """Return as much of the body of a refusal as says why."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) >= MAX_REFUSAL_BYTES:
                break
        return bytes(body)

    def _pieces(self) -> Iterator[bytes]:
        left = self.raw.length
        while True:
            with _translated(self.url):
                piece = self.raw.read1(PIECE_BYTES)
            if not piece:
                break
            if self.raw.chunked:
                self.allowance.delivered(len(piece))
            left = None if left is None else left - len(piece)
            yield piece
        if left:
            msg = f"{self.url}: the connection broke off, {left} bytes are missing"
            raise TransportError(msg)


class HttpClient:
    """Asks one server. Safe to share between threads, and closed when collected."""

    def __init__(
        self,
        server: Server,
        limits: DownloadLimits | None = None,
        *,
        accepts: Accepts | None = None,
    ) -> None:
        self.server = server
        self._accepts = accepts
        self.limits = limits or DownloadLimits()
        self._tls = server.tls() if server.parts.scheme == "https" else None
        self._idle: deque[PacedConnection] = deque()
        self.close = weakref.finalize(self, _close_all, self._idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, path: str) -> str:
        """Return the URL at which ``path`` is asked for, base path included."""
        return self.server.parts._replace(path="").geturl() + path

    def allowance(self, request: Request) -> Allowance:
        """Return the limits on the answer to ``request``, every attempt included."""
        return Allowance(self.limits, url=self.url(request.path))

    def fetch(
        self, request: Request, *, limit_bytes: int = MAX_RESPONSE_BYTES
    ) -> "Answer":
        """Return a whole small answer; ask again where that cannot do a thing twice.

        Raises:
            MalformedDocumentError: it is longer than ``limit_bytes``.
            TransportError: it did not arrive.
            UntrustedServerError: the server's certificate is not believed.
            ZooError: what the server refused with.
        """
        allowance = self.allowance(request)

        def ask() -> Answer:
            with self.exchange(request, allowance) as response:
                response.require_success()
                return Answer(response.headers, response.read(limit_bytes))

        return attempt(ask, allowance, is_repeatable=request.is_repeatable)

    @contextmanager
    def exchange(self, request: Request, allowance: Allowance) -> Iterator[Response]:
        """Ask once, and yield the answer, whatever its status.

        A connection whose answer was not read to its end is closed after the block.

        Raises:
            TransportError: no answer came.
            UntrustedServerError: the server's certificate is not believed.
        """
        url = self.url(request.path)
        with _translated(url):
            connection = self._connection()
        connection.allowance = allowance
        is_whole = False
        try:
            with _translated(url):
                raw = self._sent(connection, request)
            try:
                yield Response(url, raw, allowance)
            finally:
                is_whole = raw.isclosed() or raw.length == 0
                raw.close()
        finally:
            self._put_back(connection, is_whole=is_whole)

    def _sent(
        self, connection: PacedConnection, request: Request
    ) -> http.client.HTTPResponse:
        headers = self.server.headers | dict(request.headers)
        connection.allowance.sending()
        try:
            connection.request(
                request.method, request.path, body=request.content, headers=headers
            )
        except (BrokenPipeError, ConnectionResetError):
            # it may have said why before it hung up on a body that is too long
            if connection.sock is None:
                raise
        connection.allowance.awaiting_head()
        return connection.getresponse()

    def _connection(self) -> PacedConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.is_reusable:
                return connection
            connection.close()
        parts = self.server.parts
        return PacedConnection(
            parts.hostname or "", parts.port, tls=self._tls, accepts=self._accepts
        )

    def _put_back(self, connection: PacedConnection, *, is_whole: bool) -> None:
        if is_whole and self.close.alive and connection.is_reusable:
            self._idle.append(connection)
        else:
            connection.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response, its body as it was sent."""

    headers: Message
    body: bytes

    @property
    def announced_bytes(self) -> int | None:
        """What ``Content-Length`` says; None where it says nothing that can be."""
        return _announced_bytes(self.headers)


def _announced_bytes(headers: Message) -> int | None:
    text = headers.get("Content-Length", "")
    is_number = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return int(text) if is_number else None


def _close_all(idle: deque[PacedConnection]) -> None:
    while idle:
        idle.pop().close()


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Raise what went wrong on the way as ours."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        msg = (
            f"{url}: the server's certificate is not trusted: "
            f"{error.verify_message}; nothing was sent"
        )
        raise UntrustedServerError(msg) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        # ValueError: a host or path that cannot be put on a wire, such as "a..b"
        msg = f"{url}: {printable(str(error)) or type(error).__name__}"
        raise TransportError(msg) from error
