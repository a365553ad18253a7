"""One service on one socket, from the first byte on disk to a clean end."""

import asyncio
import errno
import json
import logging.config
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from model_zoo.errors import LocalError
from model_zoo.extras import install_line
from service.app import create_app
from service.settings import WILDCARD_HOSTS, Settings, is_loopback
from service.storage import told_as_local_error
from service.tls import TlsFiles
from service.workers import Workers, can_train, embedded_key, worker_command

log = logging.getLogger(__name__)

BACKLOG = 2048
DRAIN_SECONDS = 3
"""How long answers under way may take once the service was told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How to start: the settings, where to listen and how, workers, whom to tell."""

    settings: Settings
    port: int
    workers: int
    token_file: Path | None
    tls: TlsFiles | None
    on_ready: Callable[[str], None]


def serve(start: Start) -> None:
    """Serve until SIGTERM or SIGINT, then end the workers and close everything.

    Raises:
        LocalError: the port is in use, or the data folder is in use or unwritable.
    """
    settings = start.settings
    _log_to_stderr()
    with listen(settings.host, start.port) as listener:
        url = url_of(listener, scheme="http" if start.tls is None else "https")
        app = create_app(settings)
        try:
            workers = _workers(app, start, url=url)
        except LocalError:
            app.state.parts.close()
            raise
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_certfile=None if start.tls is None else start.tls.certificate,
            ssl_keyfile=None if start.tls is None else start.tls.key,
        )
        server = _Server(config, workers=workers, on_ready=lambda: start.on_ready(url))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end_quietly)
        server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        LocalError: the port is in use, or the address is not this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            msg = f"port {port} is in use: stop what uses it, or pass another --port"
        else:
            msg = f"cannot listen on {host} port {port}: {error.strerror}"
        raise LocalError(msg) from error


def url_of(listener: socket.socket, *, scheme: str) -> str:
    """Return the URL under which this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    if host in WILDCARD_HOSTS:
        host = "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def write_ready_file(path: Path, url: str) -> None:
    """Write ``{"url", "pid"}`` so that a reader finds all of it or no file at all.

    Raises:
        LocalError: it cannot be written.
    """
    with told_as_local_error(f"cannot write {path}"):
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
        draft.replace(path)


class _Server(uvicorn.Server):
    """A server whose workers start after it listens and end before it stops."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        workers: Workers | None,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._workers = workers
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell whoever waits."""
        await super().startup(sockets=sockets)
        self._on_ready()
        if self._workers is not None:
            self._workers.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the workers while they can still say goodbye, then the server."""
        if self._workers is not None:
            await asyncio.to_thread(self._workers.stop)
        await super().shutdown(sockets=sockets)


def _workers(app: FastAPI, start: Start, *, url: str) -> Workers | None:
    host = start.settings.host
    if start.workers == 0:
        return None
    if not can_train():
        log.warning(
            "no worker: torch is not installed; %s, or run a worker elsewhere",
            install_line("trainer"),
        )
        return None
    if not (is_loopback(host) or host in WILDCARD_HOSTS):
        log.warning("no worker: %s is not reached over loopback", host)
        return None
    if start.tls is not None:
        log.warning("no worker: over TLS, run zoo worker --ca AUTHORITY by itself")
        return None
    keys = embedded_key(app.state.parts)
    scratch = start.settings.data_dir / "scratch"
    return Workers(
        [
            worker_command(
                url,
                keys,
                scratch=scratch / f"worker-{number}",
                token_file=start.token_file,
            )
            for number in range(start.workers)
        ]
    )


def _end_quietly(_number: int, _frame: object) -> None:
    """Do nothing: uvicorn has drained, and raises the signal once more."""


def _log_to_stderr() -> None:
    """Log warnings of all and news of the service: no requests, no secrets."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {"()": "service.logs.LineFormatter"},
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
            },
            "root": {"level": "WARNING", "handlers": ["stderr"]},
        }
    )
