"""Every spelling of an inner address is an inner address."""

import socket
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.audit.remote import remote_digests, require_fetchable
from model_zoo.errors import InvalidSpecError, TransportError
from model_zoo.http.hosts import is_loopback, is_public, require_public_peer
from tests.model_zoo.servers import answering, respond

INNER = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "0",
    "0.0.0.0",  # noqa: S104  a host, not bound
    "10.1",
    "0xa9fea9fe",
    "169.254.169.254",
    "100.64.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "a.localhost.",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "fe80::1",
    "fe80::1%eth0",
    "::1%lo",
    "fd00::1",
    "ff02::1",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020.0.1",
    "\u24d1\u24d4.example",
]


@pytest.mark.parametrize("host", INNER)
def test_an_inner_address_is_not_public_however_it_is_spelled(host: str) -> None:
    assert not is_public(host)


@pytest.mark.parametrize("host", [it for it in INNER if not is_loopback(it.lower())])
def test_no_list_leads_into_this_network(host: str) -> None:
    at = f"[{host}]" if ":" in host else host
    with pytest.raises(InvalidSpecError):
        require_fetchable(f"https://{at}/weights")
    with pytest.raises(InvalidSpecError):
        require_fetchable(f"https://{at}/weights", is_redirect=True)
    with pytest.raises(InvalidSpecError):
        require_fetchable(f"http://{at}/weights")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_in_its_usual_spellings_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["weights.example", "8.8.8.8", "8.8", "2001:4860::8"])
def test_what_lies_outside_is_public(host: str) -> None:
    assert is_public(host)


def leading_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name lead to ``addresses``, as a resolver that somebody owns."""

    def answer(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(None, None, 0, "", (address, 443)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:10.0.0.1"], ["::1"]]
)
def test_a_name_that_leads_inside_is_not_asked(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    leading_to(monkeypatch, *addresses)
    with pytest.raises(InvalidSpecError, match="inside this network"):
        remote_digests("https://weights.example/m", ["sha256"], limit_bytes=9)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860::8"])
def test_a_name_that_leads_outside_may_be_asked(address: str) -> None:
    require_public_peer(address, host="weights.example")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".example"])
def test_a_name_that_leads_nowhere_is_told(host: str) -> None:
    with pytest.raises(TransportError, match=host):
        remote_digests(f"https://{host}/m", ["sha256"], limit_bytes=9)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "no address"])
def test_an_answer_from_inside_is_thrown_away(address: str) -> None:
    with pytest.raises(InvalidSpecError, match="inside this network"):
        require_public_peer(address, host="weights.example")


def test_a_redirect_to_this_machine_by_another_spelling_is_not_followed() -> None:
    asked: list[str] = []

    def serve(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        respond(request, b"", status=302, headers={"Location": "https://127.1:9/x"})

    with answering(serve) as url, pytest.raises(InvalidSpecError):
        remote_digests(f"{url}/m", ["sha256"], limit_bytes=9)
    assert asked == ["/m"]


@given(st.text() | st.from_regex(r"[0-9a-fx.:%]{1,20}", fullmatch=True))
def test_any_text_is_a_host_or_not(text: str) -> None:
    assert is_public(text) in {True, False}
    assert is_loopback(text) in {True, False}
