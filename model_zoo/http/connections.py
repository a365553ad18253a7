"""HTTP/1.1 over connections whose every wait is taken from an allowance.

``http.client`` reads and writes through whatever ``connect`` puts in ``sock``: here a
stand-in for a socket that counts seconds and bytes. Resolving a name cannot be given a
timeout; the system's resolver has one of its own (``man 5 resolv.conf``).
"""

import http.client
import io
import select
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from model_zoo.http.deadlines import Allowance

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


Accepts = Callable[[str], None]
"""Raises for an address that is not to be connected to."""


class _FinalResponse(http.client.HTTPResponse):
    """Reads on past every interim response, which ``http.client`` does for one kind.

    Source:
        RFC 9110, section 15.2: a client must read those that it does not expect.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        is_interim = status // 100 == 1 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if is_interim else status, reason


class PacedConnection(http.client.HTTPConnection):
    """One connection; ``allowance`` is that of the request under way."""

    response_class = _FinalResponse

    def __init__(
        self,
        host: str,
        port: int | None,
        *,
        tls: ssl.SSLContext | None,
        accepts: Accepts | None = None,
    ) -> None:
        if tls is not None:
            self.default_port = http.client.HTTPS_PORT
        # without a port, http.client looks for one behind the last colon of "::1"
        super().__init__(host, port or self.default_port)
        self._tls = tls
        self._accepts = accepts
        self.allowance: Allowance

    def connect(self) -> None:
        """Connect, and shake hands where TLS is spoken.

        Raises:
            TransportError: it took too long.
            OSError: nobody is there, or the certificate is not believed.
        """
        self.allowance.connecting()
        plain = _connected(self.host, self.port, self.allowance, self._accepts)
        connection = plain
        try:
            if self._tls is not None:
                connection = _shaken_hands(self._tls, plain, self.host, self.allowance)
        except BaseException:
            plain.close()
            raise
        self.sock = _Wire(connection, self)
        self.allowance.sending()

    @property
    def is_reusable(self) -> bool:
        """Whether it is open, and the server has not hung up since the last answer."""
        wire = self.sock
        return isinstance(wire, _Wire) and not wire.is_readable


class _Wire:
    """What ``http.client`` needs of a socket."""

    def __init__(self, connection: socket.socket, owner: PacedConnection) -> None:
        self._connection = connection
        self._owner = owner

    @property
    def is_readable(self) -> bool:
        """Whether bytes, or the end, are there before anything was asked for."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(0))

    def sendall(self, data: "ReadableBuffer") -> None:
        rest = memoryview(data).cast("B")
        while rest:
            count = self._run_send(rest)
            self._owner.allowance.sent(count)
            rest = rest[count:]

    def receive_into(self, buffer: "WriteableBuffer") -> int:
        connection, allowance = self._connection, self._owner.allowance
        count = allowance.run(connection, lambda: connection.recv_into(buffer))
        allowance.received(count)
        return count

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self, self._connection))

    def close(self) -> None:
        """Close the socket as soon as nobody reads from it any more."""
        self._connection.close()

    def _run_send(self, rest: memoryview) -> int:
        connection = self._connection
        return self._owner.allowance.run(connection, lambda: connection.send(rest))


class _Incoming(io.RawIOBase):
    """What a wire receives; keeps the socket open for as long as it is open."""

    def __init__(self, wire: _Wire, connection: socket.socket) -> None:
        self._wire = wire
        self._held = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Receive at least one byte, or none at the end."""
        return self._wire.receive_into(buffer)

    def close(self) -> None:
        self._held.close()
        super().close()


def _connected(
    host: str, port: int, allowance: Allowance, accepts: Accepts | None
) -> socket.socket:
    """Return a connection to the first of the host's addresses that answers.

    None of them gets more than its share of the time: where one kind of address leads
    nowhere, another one is still to be tried.
    """
    failed: OSError | None = None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if accepts is not None:
        for *_, address in found:
            accepts(str(address[0]))
    for index, (family, kind, protocol, _, address) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        try:
            _open(connection, address, allowance, share=len(found) - index)
        except OSError as error:
            connection.close()
            failed = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failed or OSError(f"{host} has no address")


def _open(
    connection: socket.socket,
    address: tuple[Any, ...],
    allowance: Allowance,
    *,
    share: int,
) -> None:
    allowance.run(connection, lambda: connection.connect(address), share=share)
    # Heads and bodies are sent one after the other: without Nagle's wait in between.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _shaken_hands(
    tls: ssl.SSLContext, plain: socket.socket, host: str, allowance: Allowance
) -> ssl.SSLSocket:
    secure = tls.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        allowance.run(secure, secure.do_handshake)
    except BaseException:
        secure.close()
        raise
    return secure
