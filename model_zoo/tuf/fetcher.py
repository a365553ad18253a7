"""How python-tuf's client gets its bytes: from our server, or from a mapping.

TUF bounds what is read (``max_length``) and believes nothing unsigned. Whose
certificate counts, where the token may go and how long a server may take is for
``model_zoo.http`` to say.

Metadata is looked at as it arrives, before python-tuf keeps a byte of it: that reads
JSON as Python does (a name may stand twice, NaN is a number), checks what is signed and
keeps the rest of the file as well. Such a file would come along as evidence and be
refused there; so it is refused here, by the same function.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import Self

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface

from model_zoo.errors import InvalidSpecError
from model_zoo.http.client import HttpClient, Request, Response
from model_zoo.http.deadlines import DownloadLimits, attempt
from model_zoo.http.server import Server
from model_zoo.tuf.roles import checked

_ABSENT = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""TUF reads both as "no newer root"; a store without the right to list says 403."""


class ServerFetcher(FetcherInterface):
    """Reads files below one server's URL over kept connections.

    Our own errors pass through ngclient as they are, since it knows none of them.
    """

    def __init__(self, server: Server, limits: DownloadLimits | None = None) -> None:
        self._http = HttpClient(server, limits)
        self.close = self._http.close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def length_bytes(self, url: str) -> int | None:
        """Return how long the server says the file at ``url`` is; None if it does not.

        Raises:
            DownloadHTTPError: there is no such file (403 and 404).
            ZooError: as for a fetch.
        """
        with self._answer("HEAD", url) as response:
            return response.announced_bytes

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Yield the file at ``url`` in pieces.

        Raises:
            DownloadHTTPError: there is no such file (403 and 404).
            InvalidSpecError: the URL is not below the server's, or a redirect.
            TransportError: not reached, broken off, or slower than the limits allow.
            UntrustedServerError: the server's certificate is not believed.
            ZooError: what else the server refused with.
        """
        with self._answer("GET", url) as response:
            yield from response.pieces()

    @contextmanager
    def _answer(self, method: str, url: str) -> Iterator[Response]:
        """Yield the answer with a file in it; raise any other as what it says."""
        request = Request(method=method, path=self._path(url))
        allowance = self._http.allowance(request)
        with ExitStack() as stack:

            def ask() -> Response:
                return stack.enter_context(self._http.exchange(request, allowance))

            response = attempt(ask, allowance)
            if response.status in _ABSENT:
                raise DownloadHTTPError(url, response.status)
            response.require_success()
            yield response

    def _path(self, url: str) -> str:
        """Return what to ask the server for; the token goes to no other."""
        server = self._http.server
        below = server.url.rstrip("/") + "/"
        if not url.startswith(below) or not url.isascii():
            msg = f"{url[:200]!a} is not below {below}"
            raise InvalidSpecError(msg)
        return f"{server.base_path}/{url.removeprefix(below)}"


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


class CheckedFetcher(FetcherInterface):
    """Brings files of metadata that ``roles.checked`` accepts, and no others."""

    def __init__(self, fetcher: FetcherInterface) -> None:
        self._fetcher = fetcher

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return a file of metadata.

        Raises:
            MalformedDocumentError: it is none that a verifier off line would accept.
            ZooError: as the fetcher beneath.
        """
        data = self._fetcher.download_bytes(url, max_length)
        checked(data)
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._fetcher.fetch(url)
