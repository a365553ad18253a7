"""The zoo on a socket, and a mirror of it that changes what it passes on."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.error import HTTPError

import httpx

from model_zoo.client.zoo import ZooClient
from model_zoo.keys.p256 import P256Key
from tests.model_zoo.servers import answering, respond
from tests.service.zoo import JSON, weights

FILES = {"model.safetensors": weights(7), "config.json": JSON}
PASSED_ON = ("ETag", "X-Repo-Commit", "Content-Type")


@dataclass(frozen=True, kw_only=True)
class Served:
    """A zoo on a socket: where, by its own client, its root, its bundles' key."""

    url: str
    client: ZooClient
    root: bytes
    oms_key: P256Key

    def get(self, path: str) -> httpx.Response:
        """Return the answer to a question that anybody can ask."""
        return httpx.get(self.url + path, trust_env=False)


@contextmanager
def mirroring(url: str) -> Iterator[str]:
    """Yield the URL of a mirror of ``url`` that changes the last byte of weights."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked = urllib.request.Request(  # noqa: S310  our own server
            url + request.path, method=request.command
        )
        try:
            with urllib.request.urlopen(asked) as answered:  # noqa: S310
                status, headers, body = 200, answered.headers, answered.read()
        except HTTPError as error:
            with error:
                status, headers, body = error.code, error.headers, error.read()
        if request.path.endswith(".safetensors") and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        kept = {name: headers[name] for name in PASSED_ON if name in headers}
        length = int(headers["Content-Length"])
        respond(request, body, status=status, length=length, headers=kept)

    with answering(answer) as mirror:
        yield mirror
