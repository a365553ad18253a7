"""One file over HTTP: hashed while it arrives, in place only when it is right.

A download without a digest is not offered. The bytes go by ``readinto`` into a few
reused buffers that are hashed and written, so memory does not grow with the file;
hashing has a thread of its own, since SHA-256 lets go of the interpreter's lock.
"""

import contextlib
import hashlib
import http.client
import io
import itertools
import os
import secrets
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from model_zoo.errors import (
    DigestMismatchError,
    LengthMismatchError,
    LocalError,
    TransportError,
)
from model_zoo.transport import READ_SECONDS, Server, refusal, untrusted

BUFFER_BYTES = 1024 * 1024
BUFFERS = 4
PARTIAL_SUFFIX = ".part"
MAX_REFUSAL_BYTES = 64 * 1024

Progress = Callable[[int], None]
"""Told how many more bytes have arrived."""


def download(
    server: Server,
    path: str,
    to: Path,
    *,
    size_bytes: int,
    sha256: str,
    progress: Progress | None = None,
) -> None:
    """Write the file at ``path`` to ``to``, if it is exactly the one named.

    On any failure, Ctrl-C included, what was at ``to`` before is untouched and the
    partial file beside it is gone.

    Args:
        server: whom to ask, and whose certificate to believe.
        path: absolute, below the server's base path.
        to: the file to make or replace; its folder exists.
        size_bytes: its signed length; not one byte more is read.
        sha256: its signed digest, 64 lowercase hexadecimal digits.
        progress: told of every piece that arrived.

    Raises:
        LengthMismatchError: longer or shorter; a longer one is not read to its end.
        DigestMismatchError: the right length, other bytes.
        TransportError: the connection failed or broke off.
        LocalError: it cannot be written, such as on a full disk.
        UntrustedServerError: the server's certificate is not believed.
        ZooError: what the server refused with.
    """
    with _partial_beside(to) as (partial, file):
        with _response(server, path) as response:
            pieces = _pieces(response, name=to.name, size_bytes=size_bytes)
            found = _copy(pieces, file, progress=progress or _untold)
        if found != sha256:
            raise DigestMismatchError(to.name, expected=sha256, found=found)
        with _local(to):
            os.fsync(file.fileno())
            partial.replace(to)


@contextlib.contextmanager
def _partial_beside(to: Path) -> Iterator[tuple[Path, io.FileIO]]:
    partial = to.with_name(f".{to.name}.{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    with _local(to):
        file = io.FileIO(partial, "x")
    try:
        with file:
            yield partial, file
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _response(server: Server, path: str) -> Iterator[http.client.HTTPResponse]:
    """Yield a successful response; raise what went wrong on the way as ours."""
    url = server.url.rstrip("/") + path
    connection = _connection(server)
    try:
        connection.request("GET", server.base_path + path, headers=server.headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            body = response.read(MAX_REFUSAL_BYTES)
            raise refusal(response.status, body, url=url)
        yield response
    except ssl.SSLCertVerificationError as error:
        raise untrusted(url, error) from error
    except (OSError, http.client.HTTPException) as error:
        msg = f"{url}: {str(error) or type(error).__name__}"
        raise TransportError(msg) from error
    finally:
        connection.close()


def _connection(server: Server) -> http.client.HTTPConnection:
    host, port = server.parts.hostname or "", server.parts.port
    if server.parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=READ_SECONDS)
    return http.client.HTTPSConnection(
        host, port, timeout=READ_SECONDS, context=server.tls()
    )


def _pieces(
    response: http.client.HTTPResponse, *, name: str, size_bytes: int
) -> Iterator[memoryview]:
    """Yield the body in pieces, each in a buffer that is reused BUFFERS pieces on."""
    announced = response.length
    if announced is not None and announced != size_bytes:
        raise LengthMismatchError(name, expected=size_bytes, found=str(announced))
    arrived = 0
    for buffer in itertools.cycle([bytearray(BUFFER_BYTES) for _ in range(BUFFERS)]):
        count = response.readinto(buffer)
        if not count:
            break
        arrived += count
        if arrived > size_bytes:
            raise LengthMismatchError(name, expected=size_bytes, found="more")
        yield memoryview(buffer)[:count]
    if announced is not None and arrived < announced:
        msg = f"{name}: the connection broke off after {arrived} of {announced} bytes"
        raise TransportError(msg)
    if arrived < size_bytes:
        raise LengthMismatchError(name, expected=size_bytes, found=str(arrived))


def _copy(pieces: Iterator[memoryview], file: io.FileIO, *, progress: Progress) -> str:
    """Write ``pieces`` to ``file`` and return their SHA-256."""
    digest = hashlib.sha256()
    hashed: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1) as hashing:
        for piece in pieces:
            hashed.append(hashing.submit(digest.update, piece))
            _write(file, piece)
            progress(len(piece))
            if len(hashed) == BUFFERS:  # the next piece overwrites the oldest buffer
                hashed.popleft().result()
    return digest.hexdigest()


def _write(file: io.FileIO, piece: memoryview) -> None:
    with _local(Path(str(file.name))):
        while piece:
            piece = piece[file.write(piece) :]


@contextlib.contextmanager
def _local(path: Path) -> Iterator[None]:
    """Raise this machine's failures as ours: they are not the network's."""
    try:
        yield
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise LocalError(msg) from error


def _untold(_: int) -> None:
    """Tell nobody."""
