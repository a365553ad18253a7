"""Real sockets for tests: a server that answers as told, and the zoo itself."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import uvicorn

from model_zoo.clock import Clock, system_clock
from model_zoo.tuf.updater import Anchor
from service.app import create_app
from service.settings import Settings
from tests.service.schema import prepare

Answering = Callable[[BaseHTTPRequestHandler], None]
NO_AUTHORITY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For httpx, over plain HTTP: to read the authorities of its own takes 20 ms a call."""


@contextmanager
def answering(answer: Answering, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yield the URL of a server that lets ``answer`` write every response."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            answer(self)

        do_GET = do_HEAD = do_PUT = do_POST = do  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def respond(
    request: BaseHTTPRequestHandler,
    body: bytes,
    *,
    status: int = 200,
    length: int | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    """Answer with ``body``, announcing ``length`` bytes, and close."""
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.send_header("Connection", "close")
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
    request.close_connection = True


@contextmanager
def open_zoo(data_dir: Path, **chosen: object) -> Iterator[str]:
    """Yield the URL of the service itself, over a folder of its own."""
    settings = Settings(data_dir=prepare(data_dir), **chosen)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(settings), log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def anchor_of(
    data_dir: Path, *, cache: Path | None = None, clock: Clock = system_clock
) -> Anchor:
    """Return what a user pins of the zoo over ``data_dir``: its development root.

    What that user has seen is remembered in ``cache``, else beside the folder.
    """
    root = (data_dir / "trust" / "root.json").read_bytes()
    beside = data_dir.with_name(f"{data_dir.name}-seen")
    return Anchor(root=root, cache=cache or beside, clock=clock)
