"""A training process that is the enemy: what it tries, and that it gets nothing."""

import fcntl
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.hostile import WAYS, supervise

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or os.uname().machine != "x86_64",
    reason="plays every kind of user, which takes root, on Linux, with x86_64's calls",
)
pytestmark = needs_root


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def test_no_key_can_be_read_and_no_code_planted(way: str, place: Path) -> None:
    keys = place / "keys"
    keys.mkdir()
    for name in ("builder.pem", "passphrase", "token", "root-1.pem", "timestamp.pem"):
        (keys / name).write_text("for the supervisor's eyes")
        (keys / name).chmod(0o644)  # as if they were the child's user's own
    reached = [str(path) for path in keys.iterdir()]
    code = Path(sys.modules["trainer"].__file__ or "").parent
    places = [str(code), str(code / "attacks"), sys.prefix, str(place), "/tmp"]  # noqa: S108
    told = supervise(way, place / "scratch", "read", paths=[*reached, *places])
    assert told.get("opened") == [], told


def test_no_network_can_be_had_again(way: str, place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = supervise(way, place / "scratch", "rejoin", port=port)
    assert told["network"] == "dropped"
    assert (told["joined"], told["connected"], told["sockets"]) == ([], False, [])


def test_no_call_is_granted_that_training_does_not_need(way: str, place: Path) -> None:
    told = supervise(way, place / "scratch", "call")
    assert told["granted"] == []
    assert told["capabilities"] == [0, 0]
    assert told["no_new_privileges"] == "1"
    if WAYS[way][0] is not None:
        assert told["user"] == WAYS[way][0]


def test_nobody_above_can_be_signalled_or_looked_into(way: str, place: Path) -> None:
    told = supervise(way, place / "scratch", "reach")
    assert told["reached"] == []


def test_a_daemon_ends_with_the_child_that_left_it(way: str, place: Path) -> None:
    scratch = place / "scratch"
    told = supervise(way, scratch, "outlive")
    assert "error" not in told
    with (scratch / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever lives holds it
