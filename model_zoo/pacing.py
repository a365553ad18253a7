"""A server that takes its time: how much of it a download gives away.

A server, or somebody on the way, that sends a byte now and then keeps a client busy
for good with timeouts that only count silence. Here bytes are owed by the second.

Source:
    The Update Framework Specification 1.0.33, section 1.5.2 ("slow retrieval").
"""

import contextlib
import io
import math
import socket
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import TYPE_CHECKING

from model_zoo.errors import TransportError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LEAST_TIMEOUT_SECONDS = 0.001
"""Zero would mean a socket that never waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a server is granted before a download gives up on it.

    Attributes:
        connect_seconds: for a connection, its TLS handshake included.
        head_seconds: from the request to the last line of the response's head.
        window_seconds: of waiting, after each of which the rate is looked at; so long
            is also the grace before the first look.
        min_bytes_per_second: over each such window; a window may be silent for long,
            but no silence outlasts two of them.
        pauses_seconds: before each further attempt at what broke off.
    """

    connect_seconds: float = 10.0
    head_seconds: float = 60.0
    window_seconds: float = 20.0
    min_bytes_per_second: int = 8 * 1024
    pauses_seconds: tuple[float, ...] = (0.1, 0.5, 2.0)


def paced_response(
    connection: socket.socket, patience: Patience, *, url: str
) -> HTTPResponse:
    """Return the response that comes over ``connection``, its head read.

    Its body is read from the same pace: a read of it raises like this function.

    Args:
        connection: on which a GET was just sent.
        patience: how slow is too slow.
        url: what was asked, for messages.

    Raises:
        TransportError: it came too slowly.
        OSError: the connection broke.
        HTTPException: what came is no HTTP.
    """
    response = HTTPResponse(connection, method="GET")
    response.fp.close()
    paced = _Paced(connection, patience, url=url)
    response.fp = io.BufferedReader(paced)
    response.begin()
    paced.begin_body()
    return response


class _Paced(io.RawIOBase):
    """What a socket receives, for as long as it comes fast enough.

    Only time spent waiting counts: a slow disk on our side is not the server's fault.
    """

    def __init__(
        self, connection: socket.socket, patience: Patience, *, url: str
    ) -> None:
        self._connection = connection
        self._patience = patience
        self._url = url
        self._left_seconds = patience.head_seconds
        self._owed_bytes = math.inf

    def readable(self) -> bool:
        return True

    def begin_body(self) -> None:
        """Start the first window of the body."""
        self._left_seconds = self._patience.window_seconds
        self._owed_bytes = self._left_seconds * self._patience.min_bytes_per_second

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Receive at least one byte, or none at the end."""
        while True:
            self._connection.settimeout(max(self._left_seconds, _LEAST_TIMEOUT_SECONDS))
            started = time.monotonic()
            count: int | None = None
            with contextlib.suppress(TimeoutError):
                count = self._connection.recv_into(buffer)
            self._left_seconds -= time.monotonic() - started
            self._owed_bytes -= count or 0
            if self._left_seconds <= 0 and count != 0:
                self._end_window()
            if count is not None:
                return count

    def _end_window(self) -> None:
        if self._owed_bytes <= 0:
            self.begin_body()
            return
        patience = self._patience
        if self._owed_bytes == math.inf:
            told = f"no answer within {patience.head_seconds:g} s"
        else:
            told = (
                f"under {patience.min_bytes_per_second} bytes a second "
                f"over {patience.window_seconds:g} s"
            )
        msg = f"{self._url}: too slow: {told}; what arrived is kept"
        raise TransportError(msg)
