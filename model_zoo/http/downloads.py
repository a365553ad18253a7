"""One file over HTTP: hashed while it arrives, in place only when it is right.

A download without a digest is not offered. The bytes go by ``readinto`` into a few
reused buffers that are hashed and written, so memory does not grow with the file;
hashing has a thread of its own, since SHA-256 lets go of the interpreter's lock.
What breaks off is gone on with, in this call, the next one or another process.

ADR 14 and ADR 30.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from model_zoo.errors import (
    DigestMismatchError,
    LengthMismatchError,
    MalformedDocumentError,
    TransportError,
)
from model_zoo.files import translate_os_errors
from model_zoo.http.client import HttpClient, Request, Response
from model_zoo.http.deadlines import Allowance, attempt
from model_zoo.http.partials import Partial, open_partial
from model_zoo.http.server import Server
from model_zoo.text import printable

BUFFER_BYTES = 1024 * 1024
BUFFERS = 4

Progress = Callable[[int], None]
"""Called with how many more bytes are here; negative where a download starts again."""


def download(
    server: Server,
    path: str,
    to: Path,
    *,
    size_bytes: int,
    sha256: str,
    progress: Progress | None = None,
) -> None:
    """Write the file at ``path`` to ``to``: see ``Downloader.fetch``."""
    with HttpClient(server) as client:
        Downloader(client).fetch(
            path, to, size_bytes=size_bytes, sha256=sha256, progress=progress
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A file, as those who signed for it describe it."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Downloader:
    """Whom to ask, and where to keep what broke off.

    ``partials`` is a folder of this user's that outlives the process; None keeps a
    partial file beside the file that it will be.
    """

    client: HttpClient
    partials: Path | None = None

    def fetch(
        self,
        path: str,
        to: Path,
        *,
        size_bytes: int,
        sha256: str,
        progress: Progress | None = None,
    ) -> None:
        """Write the file at ``path`` to ``to``, if it is exactly the one named.

        On any failure, Ctrl-C included, what was at ``to`` before is untouched. What
        had arrived stays where the next call for the same digest finds it, unless it
        cannot be believed or this disk is full.

        Args:
            path: absolute, below the server's base path.
            to: the file to make or replace; its folder exists.
            size_bytes: its signed length; not one byte more is kept.
            sha256: its signed digest, 64 lowercase hexadecimal digits.
            progress: called with the length of every piece, and first of what an
                earlier call left.

        Raises:
            LengthMismatchError: longer or shorter; a longer one is not read to its end.
            DigestMismatchError: the right length, other bytes.
            MalformedDocumentError: the answer is of another range than was asked for,
                or has no ``Content-Length``.
            TransportError: the connection failed, broke off again and again, or was
                too slow.
            LocalError: it cannot be written, such as on a full disk.
            UntrustedServerError: the server's certificate is not believed.
            ZooError: what the server refused with.
        """
        wanted = _Wanted(name=to.name, size_bytes=size_bytes, sha256=sha256)
        report = progress or _ignore
        with open_partial(self._folder(to), sha256=sha256) as partial:
            report(partial.length_bytes)
            if not self._is_completed(path, partial, wanted, report):
                # What an earlier process left was damaged since: without it, then.
                _restart(partial, report)
                self._is_completed(path, partial, wanted, report)
            found = partial.digest.hexdigest()
            if found != sha256:
                raise DigestMismatchError.of(to.name, expected=sha256, found=found)
            partial.move(to)

    def _folder(self, to: Path) -> Path:
        if self.partials is None:
            return to.parent
        with translate_os_errors(f"cannot write {self.partials}"):
            self.partials.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.partials

    def _is_completed(
        self, path: str, partial: Partial, wanted: _Wanted, report: Progress
    ) -> bool:
        """Get what is missing; return False if recalled bytes spoil the whole."""
        if partial.length_bytes > wanted.size_bytes:
            return False
        whole = Request(path=self.client.server.base_path + path)
        allowance = self.client.allowance(whole)
        attempt(
            lambda: self._go_on(whole, partial, wanted, allowance, report), allowance
        )
        is_right = partial.digest.hexdigest() == wanted.sha256
        return is_right or not partial.recalled_bytes

    def _go_on(
        self,
        whole: Request,
        partial: Partial,
        wanted: _Wanted,
        allowance: Allowance,
        report: Progress,
    ) -> None:
        """Ask once for what is missing, and take what comes of it."""
        if 0 < partial.length_bytes == wanted.size_bytes:
            return
        start = partial.length_bytes
        request = replace(whole, headers=_range(wanted, start)) if start else whole
        with self.client.exchange(request, allowance) as response:
            _check_status(response, wanted, start)
            if start and response.status == HTTPStatus.OK:
                _restart(partial, report)
            if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                _restart(partial, report)
                msg = f"{wanted.name}: the server has no byte {start}"
                raise TransportError(msg)
            _copy(_pieces(response, partial, wanted), partial, report=report)


def _range(wanted: _Wanted, start: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-", "If-Range": f'"{wanted.sha256}"'}


def _restart(partial: Partial, report: Progress) -> None:
    report(-partial.length_bytes)
    partial.restart()


def _check_status(response: Response, wanted: _Wanted, start: int) -> None:
    """Accept the whole file, or exactly the rest of it where that was asked for."""
    if response.status == HTTPStatus.OK:
        return
    if start and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    response.require_success()
    expected = f"bytes {start}-{wanted.size_bytes - 1}/{wanted.size_bytes}"
    found = response.headers.get("Content-Range", "")
    is_partial = response.status == HTTPStatus.PARTIAL_CONTENT
    if not start or not is_partial or found != expected:
        msg = f"{wanted.name}: expected {expected}, found {printable(found)!a}"
        raise MalformedDocumentError(msg)


def _pieces(
    response: Response, partial: Partial, wanted: _Wanted
) -> Iterator[memoryview]:
    """Yield the body in pieces, each in a buffer that is reused BUFFERS pieces on."""
    name, size_bytes, arrived = wanted.name, wanted.size_bytes, partial.length_bytes
    announced = response.begin_file()
    if arrived + announced != size_bytes:
        found = str(arrived + announced)
        raise LengthMismatchError.of(name, expected=size_bytes, found=found)
    for buffer in itertools.cycle([bytearray(BUFFER_BYTES) for _ in range(BUFFERS)]):
        count = response.readinto(buffer)
        if not count:
            break
        arrived += count
        yield memoryview(buffer)[:count]
    if arrived < size_bytes:
        msg = f"{name}: the connection broke off after {arrived} of {size_bytes} bytes"
        raise TransportError(msg)


def _copy(pieces: Iterator[memoryview], partial: Partial, *, report: Progress) -> None:
    """Add ``pieces`` to the file and the digest of ``partial``."""
    hashed: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1) as hashing:
        for piece in pieces:
            hashed.append(hashing.submit(partial.digest.update, piece))
            _write(partial, piece)
            report(len(piece))
            if len(hashed) == BUFFERS:  # the next piece overwrites the oldest buffer
                hashed.popleft().result()


def _write(partial: Partial, piece: memoryview) -> None:
    partial.length_bytes += len(piece)
    with translate_os_errors(f"cannot write {partial.path}"):
        while piece:
            piece = piece[partial.file.write(piece) :]


def _ignore(_: int) -> None:
    """Report to nobody."""
