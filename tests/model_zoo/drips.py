"""Servers that never come to an end, each in its own way, on a real socket.

A drip is a supply of bytes, far more than any client may take. What a test looks at is
how the client ended and that the supply had not run out by then: no clock is read.
"""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PAUSE_SECONDS = 0.01
ROUNDS = 6000
"""Of one drop and a pause, a minute: many times what the limits of a test grant."""
FLOODED = 4000
"""Pieces of up to 60 kB, with no pause between them."""
LENGTH = 10**9

Supply = Callable[[bytes], Iterator[bytes]]
"""Takes the status line that the request asks for; yields what is sent, in order."""


@dataclass(frozen=True, slots=True)
class Drip:
    """One way to keep a client.

    Attributes:
        supply: what is sent once a request's head is there.
        pause_seconds: between two pieces.
        is_before_tls: sent in place of the TLS handshake.
    """

    supply: Supply
    pause_seconds: float = 0
    is_before_tls: bool = False


def _dripped_head(_: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    yield from itertools.repeat(b"x", ROUNDS)


def _interim(_: bytes) -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n", ROUNDS)


def _interim_flood(_: bytes) -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, FLOODED)


def _extensions(status: bytes) -> Iterator[bytes]:
    yield status + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"1;" + b"x" * 60_000 + b"\r\n \r\n", FLOODED)


def _dripped_extension(status: bytes) -> Iterator[bytes]:
    yield status + b"Transfer-Encoding: chunked\r\n\r\n1;"
    yield from itertools.repeat(b"x", ROUNDS)


def _trailers(status: bytes) -> Iterator[bytes]:
    yield status + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    yield from itertools.repeat(b"X: y\r\n" * 1000, FLOODED)


def _dripped_trailers(status: bytes) -> Iterator[bytes]:
    yield status + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    yield from itertools.repeat(b"X: y\r\n", ROUNDS)


def _dripped_body(status: bytes) -> Iterator[bytes]:
    yield status + b"Content-Length: %d\r\n\r\n" % LENGTH
    yield from itertools.repeat(b" ", ROUNDS)


def _dripped_chunks(status: bytes) -> Iterator[bytes]:
    yield status + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"1\r\n \r\n", ROUNDS)


def _endless_body(status: bytes) -> Iterator[bytes]:
    yield status + b"Connection: close\r\n\r\n"
    yield from itertools.repeat(b" " * 60_000, FLOODED)


def _endless_lines(status: bytes) -> Iterator[bytes]:
    yield status + b"Connection: close\r\n\r\n"
    yield from itertools.repeat(b": still here\n\n" * 1000, FLOODED)


def _silence(_: bytes) -> Iterator[bytes]:
    yield from itertools.repeat(b"", ROUNDS)


def _half_a_handshake(_: bytes) -> Iterator[bytes]:
    yield b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb\x03\x03"
    yield from itertools.repeat(b"\x00", ROUNDS)


DRIPS: Mapping[str, Drip] = {
    "silence": Drip(_silence, PAUSE_SECONDS),
    "half a TLS handshake": Drip(_half_a_handshake, PAUSE_SECONDS, is_before_tls=True),
    "a dripped head": Drip(_dripped_head, PAUSE_SECONDS),
    "interim responses": Drip(_interim, PAUSE_SECONDS),
    "a flood of interim responses": Drip(_interim_flood),
    "one-byte chunks with 60 kB extensions": Drip(_extensions),
    "a dripped chunk extension": Drip(_dripped_extension, PAUSE_SECONDS),
    "endless trailers": Drip(_trailers),
    "dripped trailers": Drip(_dripped_trailers, PAUSE_SECONDS),
    "a dripped body": Drip(_dripped_body, PAUSE_SECONDS),
    "dripped chunks": Drip(_dripped_chunks, PAUSE_SECONDS),
    "an endless body": Drip(_endless_body),
    "endless empty lines": Drip(_endless_lines),
}


@dataclass(slots=True)
class Dripping:
    """A running adversary.

    Attributes:
        url: where it is.
        status: the head it begins with, up to its last fields.
        ran_out: set when a client took a whole supply.
    """

    drip: Drip
    url: str = ""
    status: bytes = b"HTTP/1.1 200 OK\r\n"
    ran_out: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def serve(self, visitor: socket.socket) -> None:
        """Send the supply to one visitor, for as long as he takes it."""
        with visitor, suppress(OSError):
            if not self.drip.is_before_tls:
                _read_head(visitor)
            for piece in self.drip.supply(self.status):
                visitor.sendall(piece or b"")
                if not piece and _has_hung_up(visitor):
                    return
                if self.stopped.is_set():
                    return
                time.sleep(self.drip.pause_seconds)
            self.ran_out.set()


@contextmanager
def dripping(drip: Drip, *, status: bytes | None = None) -> Iterator[Dripping]:
    """Yield an adversary that keeps whoever comes, in the way of ``drip``."""
    at = Dripping(drip)
    at.status = status or at.status
    scheme = "https" if drip.is_before_tls else "http"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        threads: list[threading.Thread] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    visitor, _ = listener.accept()
                    thread = threading.Thread(target=at.serve, args=(visitor,))
                    thread.start()
                    threads.append(thread)

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield at
        finally:
            at.stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


def _read_head(visitor: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = visitor.recv(65536)
        if not piece:
            raise ConnectionError
        head += piece


def _has_hung_up(visitor: socket.socket) -> bool:
    visitor.setblocking(False)  # noqa: FBT003  its name
    try:
        return visitor.recv(65536) == b""
    except BlockingIOError:
        return False
    finally:
        visitor.setblocking(True)  # noqa: FBT003  its name
