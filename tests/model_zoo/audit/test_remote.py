"""Files elsewhere, on real sockets: hashed, and never a way into this network."""

import hashlib
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.audit.remote import remote_digests, require_fetchable
from model_zoo.errors import InvalidSpecError, TransportError
from tests.model_zoo.servers import answering, respond

WEIGHTS = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
SHA1 = hashlib.sha1(WEIGHTS, usedforsecurity=False).hexdigest()


def ask(url: str, *, limit_bytes: int = len(WEIGHTS)) -> dict[str, str]:
    return remote_digests(url, ["sha256", "sha1"], limit_bytes=limit_bytes)


def test_a_file_is_hashed_as_it_arrives() -> None:
    asked: list[dict[str, str]] = []

    def serve(request: BaseHTTPRequestHandler) -> None:
        asked.append(dict(request.headers))
        respond(request, WEIGHTS)

    with answering(serve) as url:
        assert ask(f"{url}/m") == {"sha256": SHA256, "sha1": SHA1}
    assert asked[0]["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie"} & asked[0].keys()


def test_of_a_longer_file_nothing_is_said() -> None:
    with (
        answering(lambda request: respond(request, WEIGHTS)) as url,
        pytest.raises(TransportError, match="over 255999 bytes"),
    ):
        ask(f"{url}/m", limit_bytes=len(WEIGHTS) - 1)


def test_of_half_a_file_nothing_is_said() -> None:
    def serve(request: BaseHTTPRequestHandler) -> None:
        respond(request, WEIGHTS, length=2 * len(WEIGHTS))

    with answering(serve) as url, pytest.raises(TransportError, match="127"):
        ask(f"{url}/m")


def test_a_refusal_is_told() -> None:
    def serve(request: BaseHTTPRequestHandler) -> None:
        respond(request, b"", status=404)

    with answering(serve) as url, pytest.raises(TransportError, match="404"):
        ask(f"{url}/m")


@pytest.mark.parametrize(
    "location",
    [
        "/elsewhere",
        "http://127.0.0.1:1/",
        "http://weights.example/",
        "file:///x",
        "https://10.0.0.1/",
        "https://localhost/",
        "https://[bad",
        "gopher://x/",
    ],
)
def test_a_redirect_into_this_network_is_not_followed(location: str) -> None:
    paths: list[str] = []

    def serve(request: BaseHTTPRequestHandler) -> None:
        paths.append(request.path)
        respond(request, b"", status=302, headers={"Location": location})

    with answering(serve) as url, pytest.raises(InvalidSpecError):
        ask(f"{url}/m")
    assert paths == ["/m"]


@pytest.mark.parametrize(
    "url",
    [
        "http://weights.example/m",
        "ftp://weights.example/m",
        "file:///etc/passwd",
        "",
        "https://user:password@weights.example/m",
        "https://10.0.0.1/m",
        "https:///m",
        "https://169.254.169.254/m",
        "https://[fd00::1]/m",
        "https://[bad/m",
        "m",
        "http://10.0.0.1/m",
        "https://weights.example:99999/m",
    ],
)
def test_a_url_that_reaches_inside_is_not_fetched(url: str) -> None:
    with pytest.raises(InvalidSpecError):
        ask(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://weights.example/m",
        "http://127.0.0.1:80/m",
        "http://[::1]/m",
        "https://8.8.8.8/m",
        "http://localhost/m",
    ],
)
def test_public_https_and_this_machine_may_be_asked(url: str) -> None:
    require_fetchable(url)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "a\x7fb"])
def test_a_host_that_can_have_no_address_is_told(host: str) -> None:
    with pytest.raises((TransportError, InvalidSpecError)):
        ask(f"https://{host}/m")


def test_nobody_there_is_told() -> None:
    with pytest.raises(TransportError):
        ask("http://127.0.0.1:1/m")


@given(st.text())
def test_any_text_may_be_asked_or_is_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"http://{text}"):
        try:
            require_fetchable(url)
        except InvalidSpecError:
            continue
        assert url.lower().startswith(("https:", "http:"))
