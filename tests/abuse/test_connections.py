"""Strangers on the socket: heads without end, half-sent heads, drips, idle readers."""

import json
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from model_zoo.clock import system_clock
from service.http.connections import queued
from service.http.tls import TlsFiles
from tests.service import forked
from tests.service.zoo import open_zoo, weights
from trainer.lab.actors.certificates import issue

PATIENCE_SECONDS = 60
MIB = 1024 * 1024
HOST = "127.0.0.1"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@dataclass
class Served:
    """A zoo in a process of its own."""

    url: str

    def connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        address = (parts.hostname or "", parts.port or 0)
        return socket.create_connection(address, timeout=PATIENCE_SECONDS)

    def ask(self, method: str = "GET", path: str = "/healthz", **more: Any) -> Any:  # noqa: ANN401  httpx's
        return httpx.request(
            method, self.url + path, timeout=PATIENCE_SECONDS, trust_env=False, **more
        )

    def is_answering(self) -> bool:
        return bool(self.ask().status_code == 200)


@contextmanager
def served(
    folder: Path,
    *,
    descriptors: int | None = None,
    tls: TlsFiles | None = None,
    **settings: Any,  # noqa: ANN401  the service's
) -> Iterator[Served]:
    act = partial(forked.serve_over, tls=tls, descriptors=descriptors)
    process = forked.start(act, folder, settings, said=folder / "log")
    try:
        ready = folder / "ready.json"
        wait_until(lambda: ready.exists() or not process.is_alive())
        yield Served(json.loads(ready.read_text())["url"])
    finally:
        process.kill()
        process.join()


def wait_until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sent_until_refused(connection: socket.socket, data: bytes, total: int) -> int:
    """Send ``data`` again and again; return how many bytes were taken off our hands."""
    sent = 0
    with suppress(ConnectionError, BrokenPipeError):
        while sent < total:
            sent += connection.send(data)
    return sent


def is_ended(connection: socket.socket) -> bool:
    """Whether the other side ends the connection before we lose patience."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("zoo")) as started:
        yield started


@pytest.mark.parametrize(
    ("start", "more", "total"),
    [
        pytest.param(HEAD + b"X: ", b"x" * 65536, 79 * MIB, id="one endless value"),
        pytest.param(HEAD, b"a: b\r\n" * 10000, 40 * MIB, id="endless short fields"),
        pytest.param(b"GET /", b"x" * 65536, 79 * MIB, id="an endless path"),
        pytest.param(b"", b"\r\n" * 32768, 40 * MIB, id="endless empty lines"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=",
            b"x" * 65536,
            79 * MIB,
            id="an endless chunk extension",
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
            b"x" * 65536,
            79 * MIB,
            id="an endless trailer",
        ),
    ],
)
def test_a_request_without_end_is_cut_off_and_others_are_answered(
    zoo: Served, start: bytes, more: bytes, total: int
) -> None:
    with zoo.connect() as connection:
        connection.sendall(start)
        sent = sent_until_refused(connection, more, total)
        assert zoo.is_answering()
    # What the two kernels hold between us is the system's to choose, not the zoo's.
    assert sent < 16 * MIB


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(HEAD + b"X: " + b"x" * 40_000 + b"\r\n\r\n", id="a long value"),
        pytest.param(HEAD + b"a: b\r\n" * 101 + b"\r\n", id="101 fields"),
        pytest.param(
            HEAD.replace(b"healthz", b"x" * 40_000) + b"\r\n", id="a long path"
        ),
    ],
)
def test_a_head_that_is_too_large_is_told_so(zoo: Served, head: bytes) -> None:
    with zoo.connect() as connection:
        connection.sendall(head)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer
    assert b"InvalidSpecError" in answer


def test_many_requests_at_once_on_one_connection_are_not_kept(zoo: Served) -> None:
    one = HEAD + b"\r\n"
    with zoo.connect() as connection:
        connection.sendall(one * 5000)
        seen = 0
        with suppress(ConnectionError):
            while data := connection.recv(65536):
                seen += data.count(b"HTTP/1.1 200")
    assert seen < 5000


def test_a_head_that_stays_half_sent_ends(tmp_path: Path) -> None:
    with served(tmp_path, head_seconds=0.5) as zoo:
        for start in (b"", HEAD, HEAD + b"\r\n" + HEAD):
            with zoo.connect() as connection:
                connection.sendall(start)
                assert is_ended(connection)


def test_dripped_empty_lines_do_not_keep_a_connection(tmp_path: Path) -> None:
    with served(tmp_path, head_seconds=0.5) as zoo, zoo.connect() as connection:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with suppress(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"\r\n")
                time.sleep(0.1)
        assert time.monotonic() < deadline


def test_1100_half_sent_heads_leave_room_for_another_client(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with served(tmp_path, descriptors=1024) as zoo, ExitStack() as held:
        for _ in range(1100):
            held.enter_context(zoo.connect()).sendall(HEAD)
        assert zoo.is_answering()
        assert zoo.ask(path="/api/v1/models").json() == {"items": []}
        assert zoo.ask(path="/readyz").status_code == 200


def test_1100_half_done_handshakes_leave_room_for_another_client(
    tmp_path: Path,
) -> None:
    pem = issue(tmp_path, hosts=("127.0.0.1",), now=system_clock(), days=1)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with (
        served(tmp_path, descriptors=1024, tls=TlsFiles(pem.chain, pem.key)) as zoo,
        ExitStack() as held,
    ):
        for _ in range(1100):
            held.enter_context(zoo.connect()).sendall(b"\x16\x03\x01")
        context = ssl.create_default_context(cafile=str(pem.authority))
        assert zoo.ask(verify=context).status_code == 200
        assert zoo.ask(path="/api/v1/models", verify=context).json() == {"items": []}


def test_a_zoo_that_is_full_of_requests_under_way_says_so_at_once(
    tmp_path: Path,
) -> None:
    with served(tmp_path, max_connections=2) as zoo, ExitStack() as held:
        put = b"PUT /api/v1/publishers/alice HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        put += b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        for _ in range(2):
            held.enter_context(zoo.connect()).sendall(put)
        wait_until(lambda: zoo.ask().status_code == 503)
        answer = zoo.ask()
        assert answer.headers["retry-after"]
        assert answer.json()["code"] == "TransportError"
        held.close()
        wait_until(zoo.is_answering)


def test_strangers_who_read_no_refusal_leave_room_for_another_client(
    tmp_path: Path,
) -> None:
    # Answers repeat the path, so a few fill what the system keeps of them.
    ask = b"GET /" + b"x" * 30000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with (
        served(tmp_path, token="t" * 32, max_connections=2) as zoo,
        ExitStack() as held,
    ):
        for _ in range(2):
            connection = held.enter_context(zoo.connect())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            fill(connection, ask)
        assert zoo.is_answering()


def fill(connection: socket.socket, request: bytes) -> None:
    """Send requests one by one, and read no answer, until no more are taken."""
    while True:
        connection.sendall(request)
        deadline = time.monotonic() + 1
        time.sleep(0.005)
        while queued(connection):
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)


def test_a_body_that_drips_ends_and_leaves_nothing(tmp_path: Path) -> None:
    with served(tmp_path, stall_seconds=1) as zoo, zoo.connect() as connection:
        files = [{"name": "card.json", "size_bytes": MIB, "sha256": "0" * 64}]
        upload = zoo.ask("POST", "/api/v1/uploads", json={"files": files}).json()["id"]
        path = f"/api/v1/uploads/{upload}/files/card.json/parts/0"
        head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {MIB}\r\n"
        head += "Content-Type: application/octet-stream\r\n\r\n"
        connection.sendall(head.encode())
        deadline = time.monotonic() + PATIENCE_SECONDS
        with suppress(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < deadline
        wait_until(lambda: not list((tmp_path / "zoo" / "uploads" / upload).iterdir()))


def test_a_body_at_the_least_rate_arrives(tmp_path: Path) -> None:
    with served(tmp_path, stall_seconds=1) as zoo, zoo.connect() as connection:
        size = 64 * 1024
        head = "POST /api/v1/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(16):
            connection.sendall(b" " * (size // 16))
            time.sleep(0.2)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reader_that_takes_nothing_is_dropped_and_a_slow_one_is_not(
    tmp_path: Path, scheme: str
) -> None:
    data = weights(1, 32 * MIB)
    with open_zoo(tmp_path / "zoo", part_bytes=64 * MIB) as prepared:
        prepared.bind()
        release = prepared.published("alice/digits@1", {"model.safetensors": data})
    pem = issue(tmp_path, hosts=(HOST,), now=system_clock(), days=1)
    tls = TlsFiles(pem.chain, pem.key) if scheme == "https" else None
    context = ssl.create_default_context(cafile=str(pem.authority))
    path = f"/api/v1/blobs/{release['files'][0]['sha256']}"
    with served(tmp_path, stall_seconds=4, tls=tls) as zoo, ExitStack() as held:
        idle, slow = (held.enter_context(zoo.connect()) for _ in range(2))
        if tls:
            idle, slow = (
                held.enter_context(context.wrap_socket(it, server_hostname=HOST))
                for it in (idle, slow)
            )
        for connection in (idle, slow):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert taken(slow, len(data), slow_seconds=12) >= len(data)
        assert taken(idle, len(data), slow_seconds=0) < len(data)


def taken(connection: socket.socket, size: int, *, slow_seconds: float) -> int:
    """Read an answer of ``size``, slowly at first; return how much of it came."""
    got, until = 0, time.monotonic() + slow_seconds
    with suppress(OSError):
        while got < size and (data := connection.recv(65536)):
            got += len(data)
            if time.monotonic() < until:
                time.sleep(0.05)
    return got
