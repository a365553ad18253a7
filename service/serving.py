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
from typing import cast

import uvicorn
from fastapi import FastAPI

from model_zoo.errors import LocalError
from model_zoo.extras import install_line
from model_zoo.files import write_beside
from model_zoo.http.hosts import is_loopback
from service.app import create_app
from service.http.connections import Connections, affordable, raise_descriptor_limit
from service.http.tls import TlsFiles
from service.jobs.workers import Workers, can_train, embedded_key, worker_command
from service.settings import WILDCARD_HOSTS, Settings

log = logging.getLogger(__name__)

BACKLOG = 128
"""Connections the system keeps for us, and as many are accepted in one go at most."""
TICKS_PER_SECOND = 10
"""How often uvicorn's main loop looks up."""
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
            app.state.context.close()
            raise
        connections = _connections(start)
        config = uvicorn.Config(
            app,
            # uvicorn calls it for each accepted connection, as it would call a class.
            http=cast("type[asyncio.Protocol]", connections.protocol),
            ws="none",
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            # Streams of events would hold the end up for ever.
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        server = _Server(
            config,
            connections=connections,
            workers=workers,
            on_ready=lambda: start.on_ready(url),
        )
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
    write_beside(path, json.dumps({"url": url, "pid": os.getpid()}).encode())


class _Server(uvicorn.Server):
    """A server whose workers start after it listens and end before it stops."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        connections: Connections,
        workers: Workers | None,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._workers = workers
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell whoever waits."""
        await super().startup(sockets=sockets)
        self._on_ready()
        if self._workers is not None:
            self._workers.start()

    async def on_tick(self, counter: int) -> bool:
        """End connections that are too slow, once a second; say whether to stop."""
        if counter % TICKS_PER_SECOND == 0:
            self._connections.check()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the workers while they can still report, then the server."""
        if self._workers is not None:
            await asyncio.to_thread(self._workers.stop)
        await super().shutdown(sockets=sockets)


def _connections(start: Start) -> Connections:
    settings = start.settings
    descriptors = raise_descriptor_limit()
    limit = affordable(settings.max_connections, descriptors=descriptors)
    if limit < settings.max_connections:
        log.warning(
            "at most %d connections: %d open files are allowed here", limit, descriptors
        )
    return Connections(
        limit=limit,
        head_seconds=settings.head_seconds,
        stall_seconds=settings.stall_seconds,
        tls=None if start.tls is None else start.tls.context(),
    )


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
    keys = embedded_key(app.state.context)
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
            # It warns of requests that are none, which cost a stranger nothing.
            "loggers": {"uvicorn.error": {"level": "ERROR"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
        }
    )
