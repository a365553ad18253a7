"""Who tries to speak to the service and may not: foreign sites, strangers, floods."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from model_zoo.errors import InvalidSpecError, NotPermittedError
from service.logs import LineFormatter
from service.settings import Settings
from tests.service.roles import make_real_root
from tests.service.zoo import ALICE, Clock, Zoo, assert_problem, open_zoo

TOKEN = "t" * 40
EVERYWHERE = "0.0.0.0"  # noqa: S104  told to settings, bound by no test
BINDING = {"public_key": ALICE.public.to_pem()}


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    with open_zoo(tmp_path / "zoo", max_body_bytes=4096) as opened:
        yield opened


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Zoo]:
    """A service beyond loopback: behind a token, and its root is a real one."""
    trust = make_real_root(tmp_path / "trust", now=Clock().now)
    with open_zoo(
        tmp_path / "zoo",
        trust_dir=trust,
        host=EVERYWHERE,
        token=TOKEN,
        allowed_hosts=("zoo.example",),
    ) as opened:
        yield opened


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[::2]",
        EVERYWHERE,
        "",
        "127.0.0.1, evil.example",
    ],
)
def test_a_name_that_was_rebound_to_us_is_refused(zoo: Zoo, host: str) -> None:
    response = zoo.get("/models", headers={"Host": host})
    assert_problem(response, 400, "InvalidSpecError")
    assert_problem(zoo.get("/healthz", headers={"Host": host}), 400, "InvalidSpecError")


def test_two_hosts_in_one_request_are_refused(zoo: Zoo) -> None:
    headers = [("Host", "127.0.0.1"), ("Host", "evil.example")]
    assert_problem(zoo.get("/models", headers=headers), 400, "InvalidSpecError")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "LOCALHOST:8000", "[::1]:8000", "localhost"]
)
def test_the_names_of_this_machine_are_answered(zoo: Zoo, host: str) -> None:
    assert zoo.get("/models", headers={"Host": host}).status_code == 200


def test_a_name_that_the_operator_allowed_is_answered(guarded: Zoo) -> None:
    headers = {"Host": "zoo.example:443", "Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""],
)
def test_a_simple_post_from_another_site_is_refused(zoo: Zoo, media_type: str) -> None:
    body = b'{"kind": "noop", "trainer": "embedded", "spec": {}}'
    headers = {"Content-Type": media_type}
    response = zoo.ask("POST", "/jobs", content=body, headers=headers)
    assert_problem(response, 415, "InvalidSpecError")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "file://", "x", "http://["]
)
def test_a_page_of_another_site_may_not_write_even_without_a_body(
    zoo: Zoo, origin: str
) -> None:
    headers = {"Origin": origin}
    response = zoo.ask("POST", f"/jobs/{'0' * 32}/cancel", headers=headers)
    assert_problem(response, 403, "NotPermittedError")


def test_our_own_page_may_write(zoo: Zoo) -> None:
    headers = {"Origin": "http://127.0.0.1:8000"}
    response = zoo.put("/publishers/alice", BINDING, headers=headers)
    assert response.status_code == 201


def test_no_answer_lets_another_site_read_it(zoo: Zoo) -> None:
    response = zoo.get("/models", headers={"Origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_body_that_says_it_is_too_long_is_refused_unread(zoo: Zoo) -> None:
    body = {"public_key": "x" * 5000}
    response = zoo.put("/publishers/alice", body)
    assert_problem(response, 413, "InvalidSpecError")


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "0" * 5000])
def test_a_length_that_is_no_length_is_refused(zoo: Zoo, length: str) -> None:
    headers = {"Content-Length": length, "Content-Type": "application/json"}
    response = zoo.ask("POST", "/jobs", content=b"{}", headers=headers)
    assert_problem(response, 413, "InvalidSpecError")


def test_a_body_that_grows_without_end_is_cut_off(zoo: Zoo) -> None:
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1024 * 1024:
            sent += 1024
            yield b"x" * 1024

    headers = {"Content-Type": "application/json"}
    response = zoo.ask("POST", "/jobs", content=flood(), headers=headers)
    assert_problem(response, 413, "InvalidSpecError")
    assert sent < 16 * 1024


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xff\xfe",
    ],
)
def test_without_the_token_nothing_is_read_or_written(
    guarded: Zoo, authorization: str | None
) -> None:
    headers = (
        {}
        if authorization is None
        else {"Authorization": authorization.encode("latin-1")}
    )
    for response in (
        guarded.get("/models", headers=headers),
        guarded.get("/nothing/here", headers=headers),
        guarded.put("/publishers/alice", BINDING, headers=headers),
    ):
        assert_problem(response, 401, "NotPermittedError")
        assert response.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in response.text


def test_health_needs_no_token(guarded: Zoo) -> None:
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/readyz").status_code == 200


def test_with_the_token_everything_works(guarded: Zoo) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = guarded.put("/trainers/lab", BINDING, headers=headers)
    assert response.status_code == 201
    assert guarded.get("/trainers/lab", headers=headers).json() == response.json()


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.1.5", "zoo.example", ""])
def test_beyond_loopback_there_is_no_service_without_a_token(
    tmp_path: Path, host: str
) -> None:
    with pytest.raises(NotPermittedError, match="--token-file"):
        Settings(data_dir=tmp_path, host=host)


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="32"):
        Settings(data_dir=tmp_path, token="t" * 31)


def test_settings_do_not_show_their_token(tmp_path: Path) -> None:
    assert TOKEN not in repr(Settings(data_dir=tmp_path, token=TOKEN))


def test_a_log_line_cannot_be_forged() -> None:
    error = ValueError("first\n2026-11-22 INFO all is well\x1b[2J")
    record = logging.makeLogRecord(
        {
            "msg": "bad %s",
            "args": ("a\nb\x1b[0m",),
            "exc_info": (type(error), error, None),
        }
    )

    lines = LineFormatter().format(record).splitlines()

    assert lines[0].endswith(r"bad a\nb\x1b[0m")
    assert all(line.startswith("| ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)
