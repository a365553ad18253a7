"""A relay in front of a zoo that notes every answer: requests and bytes."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from model_zoo.canonical import JsonObject
from model_zoo.tuf.view import (
    METADATA_PATH,
)

_ROOT = re.compile(rf"/{METADATA_PATH}[0-9]+\.root\.json")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the zoo; ``body_bytes`` without, ``wire_bytes`` with its head."""

    path: str
    status: int
    body_bytes: int
    wire_bytes: int

    @property
    def is_probe(self) -> bool:
        """Whether it only says that there is no newer root."""
        return bool(_ROOT.fullmatch(self.path)) and self.status == HTTPStatus.NOT_FOUND


@dataclass(slots=True)
class Relay:
    """Where to ask instead of the zoo, and what was answered so far."""

    url: str
    answers: list[Answer] = field(default_factory=list)

    def taken(self) -> JsonObject:
        """Return the cost of all since the last call, by what it was for."""
        answers = [it for it in self.answers if not it.is_probe]
        self.answers.clear()
        metadata = [it for it in answers if it.path.startswith(f"/{METADATA_PATH}")]
        return {
            "metadata_requests": len(metadata),
            "metadata_bytes": sum(it.body_bytes for it in metadata),
            "requests": len(answers),
            "wire_bytes": sum(it.wire_bytes for it in answers),
            "paths": {it.path: it.body_bytes for it in metadata},
        }


@contextmanager
def relayed(url: str) -> Iterator[Relay]:
    """Relay GETs to the zoo at ``url`` until the block ends."""
    netloc = urlsplit(url).netloc
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    relay = Relay(f"http://127.0.0.1:{server.server_address[1]}")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            connection = http.client.HTTPConnection(netloc)
            connection.request("GET", self.path)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            head = [("Content-Length", str(len(body)))]
            head += [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in {"content-length", "transfer-encoding"}
            ]
            head_bytes = sum(len(name) + len(value) + 4 for name, value in head)
            relay.answers.append(
                Answer(self.path, answer.status, len(body), len(body) + head_bytes)
            )
            self.send_response_only(answer.status)
            for name, value in head:
                self.send_header(name, value)
            with suppress(ConnectionError):  # the client has read enough
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
