"""Metadata over HTTP, against real sockets."""

import json
import socket
from contextlib import ExitStack
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_zoo import errors
from model_zoo.errors import (
    ConflictError,
    DigestMismatchError,
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
    TransportError,
    UntrustedServerError,
    VerificationError,
    YankedError,
    ZooError,
)
from model_zoo.http.client import MAX_RESPONSE_BYTES
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.downloads import download
from model_zoo.http.refusals import HOW_TO_BE_ADMITTED, refusal
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from tests.model_zoo.certificates import authority_and_server
from tests.model_zoo.servers import answering, respond


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_an_interim_response_is_not_taken_for_the_answer(status: int) -> None:
    """Proxies send 103 ahead of what they fetch, and 102 while they do."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        interim = f"HTTP/1.1 {status} Wait\r\nLink: </a>\r\n\r\n"
        request.wfile.write(interim.encode() * 2)
        respond(request, b'{"a":1}')

    with answering(answer) as url, Transport(Server(url)) as transport:
        assert transport.get("/models") == {"a": 1}


def test_an_address_that_leads_nowhere_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a name has an IPv6 address, and IPv6 does not get through."""
    limits = DownloadLimits(connect_seconds=2, pauses_seconds=())
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as held:
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        url = held.enter_context(answering(lambda it: respond(it, b'{"a":1}')))
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", address)
            for address in (full.getsockname(), ("127.0.0.1", urlsplit(url).port))
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with Transport(Server(url), limits) as transport:
            assert transport.get("/models") == {"a": 1}
        del found[1]
        with (
            Transport(Server(url), limits) as transport,
            pytest.raises(TransportError, match="no connection within 2 s"),
        ):
            transport.get("/models")


@pytest.mark.parametrize(
    "url",
    [
        "http://zoo.example",
        "http://10.0.0.1:8000",
        "http://0.0.0.0:8000",
        "http://127.0.0.1.zoo.example",
        "http://localhost.example",
        "http://[::2]",
    ],
)
def test_plain_http_is_refused_beyond_this_machine(url: str) -> None:
    with pytest.raises(InvalidSpecError, match="plain http is refused beyond"):
        Server(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://zoo.example",
        "https://zoo.example/below/a/path/",
        "http://127.0.0.1:8000",
        "http://127.8.9.1",
        "http://localhost:8000/",
        "http://[::1]:8000",
    ],
)
def test_https_and_loopback_are_fine(url: str) -> None:
    assert Server(url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "zoo.example",
        "ftp://zoo.example",
        "file:///etc/passwd",
        "https://",
        "https://zoo.example:99999",
        "https://zoo.example:0",
        "https://user:secret@zoo.example",
        "https://zoo.example?token=secret",
        "https://zoo.example#fragment",
        "https://[zoo",
        "https://zoo.example\nHost: other",
    ],
)
def test_what_is_no_zoo_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        Server(url)
    assert "\n" not in str(refused.value)


def test_a_pinned_authority_is_never_silently_unused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="needs an https URL"):
        Server("http://127.0.0.1", ca=tmp_path / "ca.pem")
    with pytest.raises(LocalError, match="cannot read authority"):
        Transport(Server("https://127.0.0.1", ca=tmp_path / "ca.pem"))


@pytest.mark.parametrize("token", ["two words", "line\nend", "caf\u00e9", "nul\0"])
def test_a_token_that_could_split_a_header_is_refused_unseen(token: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        Server("https://zoo.example", token=token)
    assert token not in str(refused.value)


def test_a_token_is_sent_and_never_shown() -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        respond(request, b"no", status=500)

    with answering(answer) as url:
        server = Server(url, token="very-secret")  # noqa: S106  not one of ours
        with Transport(server) as transport, pytest.raises(TransportError) as failed:
            transport.send("POST", "/jobs", {})
    assert seen == ["Bearer very-secret"]
    assert "secret" not in repr(server) + str(failed.value)


def test_only_the_pinned_authority_is_believed(tmp_path: Path) -> None:
    ca, tls = authority_and_server(tmp_path / "ours")
    other, _ = authority_and_server(tmp_path / "theirs")
    reached = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        reached.append(request.path)
        respond(request, b"{}")

    with answering(answer, tls=tls) as url:
        for distrusted in (other, None):
            server = Server(url, ca=distrusted)
            with (
                Transport(server) as transport,
                pytest.raises(UntrustedServerError, match="not trusted"),
            ):
                transport.get("/models")
            with pytest.raises(UntrustedServerError, match="not trusted"):
                download(server, "/f", tmp_path / "f", size_bytes=2, sha256="0" * 64)
        assert not reached
        with Transport(Server(url, ca=ca)) as transport:
            assert transport.get("/models") == {}
        with pytest.raises(DigestMismatchError):
            download(
                Server(url, ca=ca), "/f", tmp_path / "f", size_bytes=2, sha256="0" * 64
            )
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(
            request, b"", status=status, headers={"Location": "http://evil.example"}
        )

    with (
        answering(answer) as url,
        Transport(Server(url)) as transport,
        pytest.raises(InvalidSpecError, match="redirect, never followed"),
    ):
        transport.get("/models")


def test_an_endless_answer_is_cut_off() -> None:
    piece = bytes(1024 * 1024)
    sent: list[int] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.close_connection = True
        while len(sent) < 1000:
            request.wfile.write(piece)
            sent.append(len(piece))

    with (
        answering(answer) as url,
        Transport(Server(url)) as transport,
        pytest.raises(MalformedDocumentError, match=str(MAX_RESPONSE_BYTES)),
    ):
        transport.get("/models")
    assert len(sent) < 1000


@pytest.mark.parametrize(
    ("method", "attempts"),
    [("PUT", 1 + len(DownloadLimits().pauses_seconds)), ("POST", 1)],
)
def test_only_what_cannot_happen_twice_is_tried_again(
    method: str, attempts: int
) -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        respond(request, b"", status=503)

    with (
        answering(answer) as url,
        Transport(Server(url)) as transport,
        pytest.raises(TransportError, match="503"),
    ):
        transport.send(method, "/thing", {})
    assert len(seen) == attempts


def test_a_server_that_recovers_is_not_reported() -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        if len(seen) == 1:
            request.close_connection = True
        else:
            respond(request, b'{"items": []}')

    with answering(answer) as url, Transport(Server(url)) as transport:
        assert transport.get("/models") == {"items": []}
    assert seen == ["/api/v1/models"] * 2


def test_an_address_with_colons_is_no_port() -> None:
    with (
        Transport(Server("http://[::1]")) as transport,
        pytest.raises(TransportError, match=r"http://\[::1\]/api/v1/models"),
    ):
        transport.get("/models")


def test_a_server_that_is_not_there_is_a_transport_error() -> None:
    with answering(lambda request: respond(request, b"{}")) as url:
        pass
    with Transport(Server(url)) as transport, pytest.raises(TransportError):
        transport.send("POST", "/jobs", {})


ABOUT_WHAT_WAS_SENT = {
    "DigestMismatchError",
    "LengthMismatchError",
    "MalformedDocumentError",
    "ProvenanceMismatchError",
    "UnsafeFormatError",
    "WrongReleaseError",
}
OURS = sorted(name for name in vars(errors) if name.endswith("Error"))


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("status", [103, 400, 401, 403, 404, 409, 410, 418, 500, 507])
def test_a_server_does_not_choose_the_error_that_its_client_raises(
    name: str, status: int
) -> None:
    problem = json.dumps({"code": name, "detail": "as told"}).encode()
    error = refusal(status, problem, url="http://127.0.0.1/x")
    assert type(error) is type(refusal(status, b"", url=""))
    assert not isinstance(error, LocalError | UntrustedServerError)
    hint = HOW_TO_BE_ADMITTED if status == HTTPStatus.UNAUTHORIZED else ""
    assert str(error) == f"as told (http://127.0.0.1/x){hint}"


@pytest.mark.parametrize("name", OURS)
def test_a_server_may_say_what_is_wrong_with_what_it_was_sent_and_no_more(
    name: str,
) -> None:
    problem = json.dumps({"code": name, "detail": "as told"}).encode()
    error = refusal(422, problem, url="http://127.0.0.1/x")
    expected = name if name in ABOUT_WHAT_WAS_SENT else "VerificationError"
    assert type(error).__name__ == expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidSpecError),
        (401, NotPermittedError),
        (403, NotPermittedError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, YankedError),
        (422, VerificationError),
        (103, TransportError),
        (500, TransportError),
        (503, TransportError),
    ],
)
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"code": "SystemExit"}', b'{"code": ["x"], "detail": 7}'],
)
def test_a_foreign_refusal_is_read_by_its_status(
    status: int, kind: type[ZooError], body: bytes
) -> None:
    assert type(refusal(status, body, url="http://127.0.0.1/x")) is kind


def test_a_server_cannot_write_to_the_terminal_through_an_error() -> None:
    problem = json.dumps(
        {
            "detail": "no\nverified alice/digits@1\r\x1b]0;owned\x07\x1b[2J"
            + "a" * 99_999
        }
    ).encode()
    told = str(refusal(404, problem, url="http://127.0.0.1/x"))
    assert told.isprintable()
    assert len(told) < 3000


@settings(max_examples=30)
@given(raw=st.binary(max_size=200))
def test_any_bytes_for_an_answer_are_an_object_or_a_told_refusal(raw: bytes) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, raw)

    with answering(answer) as url, Transport(Server(url)) as transport:
        try:
            assert isinstance(transport.send("POST", "/jobs", {}), dict | None)
        except MalformedDocumentError:
            return
