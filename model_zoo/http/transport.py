"""Metadata over HTTP: JSON objects, bounded, timed, retried where that is safe.

The bytes of large files do not pass here: see ``model_zoo.http.downloads``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlencode

from model_zoo.canonical import JsonObject, canonical_json, parse_object
from model_zoo.errors import MalformedDocumentError
from model_zoo.http.client import MAX_RESPONSE_BYTES, HttpClient, Request
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.server import Server

API = "/api/v1"


class Transport:
    """Sends requests to one server's API and raises its refusals as our errors.

    Safe to share between threads; a context manager, and closed when collected.
    """

    def __init__(self, server: Server, limits: DownloadLimits | None = None) -> None:
        self.server = server
        self.http = HttpClient(server, limits)
        self.close = self.http.close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, **params: str) -> JsonObject:
        """Return the JSON object at ``path``."""
        query = f"?{urlencode(params)}" if params else ""
        request = Request(path=self._path(path) + query)
        return _object(self.http.fetch(request).body, path=path)

    def send(self, method: str, path: str, body: JsonObject) -> JsonObject | None:
        """Send ``body`` as JSON and return the answer; None where there is no content.

        Raises:
            ZooError: what the server refused with, or the reason it was not reached.
        """
        request = Request(
            method=method,
            path=self._path(path),
            content=canonical_json(body),
            headers={"Content-Type": "application/json"},
        )
        answer = self.http.fetch(request)
        return _object(answer.body, path=path) if answer.body else None

    def put_bytes(self, path: str, data: bytes, *, headers: Mapping[str, str]) -> None:
        """Store ``data`` at ``path``."""
        content_type = {"Content-Type": "application/octet-stream"}
        request = Request(
            method="PUT",
            path=self._path(path),
            content=data,
            headers=content_type | dict(headers),
        )
        self.http.fetch(request)

    def length_bytes(self, path: str) -> int:
        """Return how long the file at ``path`` says it is: a claim to be checked.

        Raises:
            MalformedDocumentError: it does not say.
        """
        request = Request(method="HEAD", path=self._path(path))
        length = self.http.fetch(request).announced_bytes
        if length is None:
            msg = f"{path}: the server tells no length"
            raise MalformedDocumentError(msg)
        return length

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str]
    ) -> Iterator[Iterator[bytes]]:
        """Yield the body at ``path`` piece by piece, as it arrives; it need not end."""
        request = Request(path=self._path(path), headers=headers)
        allowance = self.http.allowance(request)
        with self.http.exchange(request, allowance) as response:
            response.require_success()
            yield response.stream()

    def _path(self, path: str) -> str:
        return self.server.base_path + API + path


def _object(body: bytes, *, path: str) -> JsonObject:
    try:
        return parse_object(body, limit_bytes=MAX_RESPONSE_BYTES)
    except ValueError as error:
        msg = f"{path}: the server's answer: {error}"
        raise MalformedDocumentError(msg) from error
