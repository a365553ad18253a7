"""python-tuf's bytes: bounded in time, from one server only, told in our errors."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError

from model_zoo.errors import (
    InvalidSpecError,
    NotPermittedError,
    TransportError,
    UntrustedServerError,
    ZooError,
)
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.server import Server
from model_zoo.tuf.fetcher import MappingFetcher, ServerFetcher
from tests.model_zoo.certificates import authority_and_server
from tests.model_zoo.servers import Answering, answering, respond

FILE = b"metadata" * 1000
ENOUGH = 1_000_000
SOON = DownloadLimits(head_seconds=0.3, window_seconds=0.2, answer_seconds=0.3)


@contextmanager
def fetching(
    answer: Answering, limits: DownloadLimits | None = None
) -> Iterator[tuple[ServerFetcher, str]]:
    with (
        answering(answer) as url,
        ServerFetcher(Server(f"{url}/zoo"), limits) as fetcher,
    ):
        yield fetcher, f"{url}/zoo/file"


def give(request: BaseHTTPRequestHandler) -> None:
    """Answer with the file and keep the connection."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(FILE)))
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(FILE)


def test_it_brings_the_file() -> None:
    with fetching(give) as (fetcher, url):
        assert fetcher.download_bytes(url, ENOUGH) == FILE
        assert fetcher.length_bytes(url) == len(FILE)


def test_it_asks_below_the_servers_path_with_the_servers_headers() -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.path, request.headers["Authorization"]))
        respond(request, FILE)

    with (
        answering(answer) as url,
        ServerFetcher(Server(f"{url}/below", token="secret")) as fetcher,  # noqa: S106
    ):
        fetcher.download_bytes(f"{url}/below/1.%2Fodd.json", ENOUGH)
    assert seen == [("/below/1.%2Fodd.json", "Bearer secret")]


def test_one_connection_serves_many_files() -> None:
    ports = set()

    def answer(request: BaseHTTPRequestHandler) -> None:
        ports.add(request.client_address)
        if request.path.endswith("absent"):
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            give(request)

    with fetching(answer) as (fetcher, url):
        fetcher.download_bytes(url, ENOUGH)
        fetcher.length_bytes(url)
        with pytest.raises(DownloadHTTPError):
            fetcher.download_bytes(f"{url}-absent", ENOUGH)
        fetcher.download_bytes(url, ENOUGH)
    assert len(ports) == 1


def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        give(request)
        request.close_connection = True

    with fetching(answer) as (fetcher, url):
        for _ in range(3):
            assert fetcher.download_bytes(url, ENOUGH) == FILE


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_is_not_there_is_told_as_ngclient_needs_it(status: int) -> None:
    with fetching(lambda it: respond(it, b"", status=status)) as (fetcher, url):
        with pytest.raises(DownloadHTTPError) as told:
            fetcher.download_bytes(url, ENOUGH)
        assert told.value.status_code == status
        with pytest.raises(DownloadHTTPError):
            fetcher.length_bytes(url)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, NotPermittedError), (302, InvalidSpecError), (500, TransportError)],
)
def test_other_refusals_are_ours(status: int, error: type[ZooError]) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, b"", status=status, headers={"Location": "/zoo/elsewhere"})

    with fetching(answer) as (fetcher, url), pytest.raises(error):
        fetcher.download_bytes(url, ENOUGH)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/zoo/file",
        "https://elsewhere.example/zoo/file",
        "http://127.0.0.1/zooo/file",
        "http://127.0.0.1/zoo/\u00fcber",
    ],
)
def test_no_other_server_gets_a_request(url: str) -> None:
    fetcher = ServerFetcher(Server("http://127.0.0.1/zoo", token="secret"))  # noqa: S106
    with pytest.raises(InvalidSpecError, match="is not below"):
        fetcher.download_bytes(url, ENOUGH)


def test_endless_data_ends_at_the_length_that_is_asked_for() -> None:
    sent = threading.Semaphore(0)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        while True:
            request.wfile.write(FILE)
            sent.release()

    with fetching(answer) as (fetcher, url), pytest.raises(DownloadLengthMismatchError):
        fetcher.download_bytes(url, 100)
    assert sent.acquire(timeout=1)


def drip_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(FILE)))
    request.end_headers()
    drip(request, FILE)


def drip_chunks(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    drip(request, b"0" * 60_000)


def drip_headers(request: BaseHTTPRequestHandler) -> None:
    drip(request, b"HTTP/1.1 200 OK\r\nX-Slow: " + FILE)


def say_nothing(request: BaseHTTPRequestHandler) -> None:
    request.rfile.read(1)  # until the client hangs up


def drip(request: BaseHTTPRequestHandler, data: bytes) -> None:
    for byte in data:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.01)


@pytest.mark.parametrize("answer", [drip_body, drip_chunks, drip_headers, say_nothing])
def test_slow_retrieval_ends_at_the_deadline(answer: Answering) -> None:
    with (
        fetching(answer, limits=SOON) as (fetcher, url),
        pytest.raises(TransportError, match="too slow"),
    ):
        fetcher.download_bytes(url, ENOUGH)


def test_the_next_file_comes_after_one_that_was_too_slow() -> None:
    slow = threading.Event()
    slow.set()

    def answer(request: BaseHTTPRequestHandler) -> None:
        (drip_body if slow.is_set() else give)(request)

    with fetching(answer, limits=SOON) as (fetcher, url):
        with pytest.raises(TransportError):
            fetcher.download_bytes(url, ENOUGH)
        slow.clear()
        assert fetcher.download_bytes(url, ENOUGH) == FILE


def test_a_file_that_breaks_off_is_not_taken_for_whole() -> None:
    with (
        fetching(lambda it: respond(it, b"half", length=8)) as (fetcher, url),
        pytest.raises(TransportError, match="broke off"),
    ):
        fetcher.download_bytes(url, ENOUGH)


def test_a_length_that_is_not_told_is_none() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True

    with fetching(answer) as (fetcher, url):
        assert fetcher.length_bytes(url) is None


def test_nobody_there_is_told() -> None:
    with (
        ServerFetcher(Server("http://127.0.0.1:1")) as fetcher,
        pytest.raises(TransportError, match="refused"),
    ):
        fetcher.download_bytes("http://127.0.0.1:1/file", ENOUGH)


def test_only_the_pinned_authority_is_believed(tmp_path: Path) -> None:
    ours, tls = authority_and_server(tmp_path / "ours")
    other, _ = authority_and_server(tmp_path / "other")
    with answering(give, tls=tls) as url:
        with ServerFetcher(Server(url, ca=ours)) as fetcher:
            assert fetcher.download_bytes(f"{url}/file", ENOUGH) == FILE
        with (
            ServerFetcher(Server(url, ca=other)) as fetcher,
            pytest.raises(UntrustedServerError),
        ):
            fetcher.download_bytes(f"{url}/file", ENOUGH)


def test_slow_retrieval_ends_over_tls_as_well(tmp_path: Path) -> None:
    authority, tls = authority_and_server(tmp_path / "tls")
    with (
        answering(drip_body, tls=tls) as url,
        ServerFetcher(Server(url, ca=authority), limits=SOON) as fetcher,
        pytest.raises(TransportError, match="too slow"),
    ):
        fetcher.download_bytes(f"{url}/file", ENOUGH)


def test_a_mapping_serves_what_it_has_and_nothing_else() -> None:
    fetcher = MappingFetcher({"zoo:///1.root.json": FILE})
    assert fetcher.download_bytes("zoo:///1.root.json", ENOUGH) == FILE
    with pytest.raises(DownloadHTTPError) as told:
        fetcher.download_bytes("zoo:///2.root.json", ENOUGH)
    assert told.value.status_code == 404
    with pytest.raises(DownloadLengthMismatchError):
        fetcher.download_bytes("zoo:///1.root.json", 10)
