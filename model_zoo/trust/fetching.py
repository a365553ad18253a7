"""How python-tuf's client gets its bytes: from our server, or from a mapping.

TUF bounds what is read (``max_length``) and believes nothing unsigned. What it
leaves to its transport is here: whose certificate to accept, where the token may go,
no redirects, and one deadline over connecting, headers and body, so that a server
that drips one byte a second cannot hold a client.
"""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Self

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface

from model_zoo.errors import InvalidSpecError, TransportError
from model_zoo.transport import (
    CONNECT_SECONDS,
    PAUSES_SECONDS,
    Server,
    refusal,
    untrusted,
)

DEADLINE_SECONDS = 60.0
"""For one file of metadata, every attempt included: 5 MB, TUF's most, at 85 kB/s."""
PIECE_BYTES = 64 * 1024
_ABSENT = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""TUF reads both as "no newer root"; a store without the right to list says 403."""


class ServerFetcher(FetcherInterface):
    """Reads files below one server's URL over one kept connection; not for threads.

    Our own errors pass through ngclient as they are, since it knows none of them.
    """

    def __init__(
        self, server: Server, *, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._server = server
        self._deadline_seconds = deadline_seconds
        self._connection = _connection(server)
        self._expired = threading.Event()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; the next fetch opens another."""
        self._connection.close()

    def length_bytes(self, url: str) -> int | None:
        """Return how long the server says the file at ``url`` is; None if it does not.

        Raises:
            DownloadHTTPError: there is no such file (403 and 404).
            ZooError: as for a fetch.
        """
        with self._answer("HEAD", url) as response:
            response.read()  # nothing, and the connection is free again
            told = response.headers.get("Content-Length", "")
            return int(told) if told.isascii() and told.isdecimal() else None

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Yield the file at ``url`` in pieces.

        Raises:
            DownloadHTTPError: there is no such file (403 and 404).
            InvalidSpecError: the URL is not below the server's, or a redirect.
            TransportError: not reached, broken off, or slower than the deadline.
            UntrustedServerError: the server's certificate is not believed.
            ZooError: what else the server refused with.
        """
        with self._answer("GET", url) as response:
            while piece := response.read(PIECE_BYTES):
                yield piece
            if response.length or self._expired.is_set():
                msg = "the connection broke off"
                raise http.client.HTTPException(msg)

    @contextmanager
    def _answer(self, method: str, url: str) -> Iterator[http.client.HTTPResponse]:
        """Yield the answer with a file in it; raise any other as what it says."""
        path = self._path(url)
        with self._told(url), self._deadline(), self._response(method, path) as answer:
            if answer.status != HTTPStatus.OK:
                body = answer.read(PIECE_BYTES)
                if answer.status in _ABSENT:
                    raise DownloadHTTPError(url, answer.status)
                raise refusal(answer.status, body, url=url)
            yield answer

    def _path(self, url: str) -> str:
        """Return what to ask the server for; the token goes to no other."""
        below = self._server.url.rstrip("/") + "/"
        if not url.startswith(below) or not url.isascii():
            msg = f"{url[:200]!a} is not below {below}"
            raise InvalidSpecError(msg)
        return f"{self._server.base_path}/{url.removeprefix(below)}"

    @contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Raise what went wrong on the way as ours."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise untrusted(url, error) from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            if self._expired.is_set():
                reason = f"not there after {self._deadline_seconds:g} seconds"
            msg = f"{url}: {reason}"
            raise TransportError(msg) from error

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Hang up when the time is over, whatever the server is in the middle of."""
        self._expired.clear()
        watch = threading.Timer(self._deadline_seconds, self._hang_up)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _hang_up(self) -> None:
        self._expired.set()
        if self._socket is not None:
            with suppress(OSError):  # closed a moment ago
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @contextmanager
    def _response(self, method: str, path: str) -> Iterator[http.client.HTTPResponse]:
        """Yield the answer; a connection that is not read to its end is closed."""
        response = self._asked(method, path)
        try:
            yield response
        finally:
            if not response.isclosed():
                self._connection.close()
                response.close()

    def _asked(self, method: str, path: str) -> http.client.HTTPResponse:
        """Ask, and ask again over a new connection where no answer came."""
        for pause in PAUSES_SECONDS:
            with suppress(ConnectionError, http.client.HTTPException):
                return self._ask(method, path)
            self._connection.close()
            if self._expired.wait(pause):
                break
        return self._ask(method, path)

    def _ask(self, method: str, path: str) -> http.client.HTTPResponse:
        if self._connection.sock is None:
            self._connection.connect()
        self._socket = self._connection.sock
        if self._expired.is_set():
            raise TimeoutError
        self._connection.request(method, path, headers=self._server.headers)
        return self._connection.getresponse()


class MappingFetcher(FetcherInterface):
    """Serves what is at hand, URL to bytes, to verify without a network."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Yield the file at ``url``.

        Raises:
            DownloadHTTPError: it is not in the mapping.
        """
        if url not in self._files:
            raise DownloadHTTPError(url, HTTPStatus.NOT_FOUND)
        return iter([self._files[url]])


def _connection(server: Server) -> http.client.HTTPConnection:
    host, port = server.parts.hostname or "", server.parts.port
    if server.parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
    return http.client.HTTPSConnection(
        host, port, timeout=CONNECT_SECONDS, context=server.tls()
    )
