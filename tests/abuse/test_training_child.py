"""A training process that is the enemy: what it tries, and that it gets nothing."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_zoo.keys.ed25519 import SigningKey
from tests.trainer import supervised
from tests.trainer.as_user import USER
from tests.trainer.hostile import (
    AS_USER,
    LANDLOCK_CREATE_RULESET,
    ROOT,
    UNSHARE,
    WAYS,
    WITHOUT_NAMESPACES,
    supervise,
)
from trainer.sandbox.child import (
    CPU_SECONDS_PER_SECOND,
    FIRST_TO_GO,
    MAX_OPEN_FILES,
    MAX_PROCESSES,
    Limits,
)

PASSPHRASE = b"only for this test"

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


def test_nobody_above_can_be_stopped(way: str, place: Path) -> None:
    told = supervise(way, place / "scratch", "halt")  # who is stopped never returns
    assert told["ended"], told
    assert "error" not in told


def test_processes_are_few_and_none_where_they_could_not_be_ended(
    way: str, place: Path
) -> None:
    told = supervise(way, place / "scratch", "multiply")
    found = (told["made"] > 0, told["most"] <= MAX_PROCESSES)
    assert found == ((False, False) if way == WITHOUT_NAMESPACES else (True, True))
    assert told["out_of_memory_score"] == int(FIRST_TO_GO)


def test_files_memory_and_time_have_an_end(way: str, place: Path) -> None:
    limits = Limits(max_seconds=supervised.MAX_SECONDS)
    sizes = {"file_bytes": limits.file_bytes, "data_bytes": limits.data_bytes}
    told = supervise(way, place / "scratch", "exceed", **sizes)
    assert told["took"] == ["a file", "memory"]
    assert MAX_OPEN_FILES - 20 < told["opened"] < MAX_OPEN_FILES
    assert told["limits"]["CORE"] == [0, 0]
    seconds = limits.max_seconds * CPU_SECONDS_PER_SECOND
    assert told["limits"]["CPU"] == [seconds, seconds]


def test_a_daemon_ends_with_the_child_that_left_it(way: str, place: Path) -> None:
    scratch = place / "scratch"
    told = supervise(way, scratch, "outlive")
    if way == WITHOUT_NAMESPACES:  # there can be none
        assert "os.fork" in str(told["error"])
        return
    assert "error" not in told
    with (scratch / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever lives holds it


@contextmanager
def working(place: Path, denied: list[int] | None) -> Iterator[subprocess.Popen[str]]:
    """Run ``zoo worker`` of a zoo that is not there, as root or as a user."""
    key = SigningKey.generate()
    key.save(place / "builder.pem", passphrase=PASSPHRASE)
    (place / "passphrase").write_bytes(PASSPHRASE)
    (place / "passphrase").chmod(0o600)
    (place / "scratch").mkdir()
    command = [sys.executable, "-P", "-m", "model_zoo", "worker", "--trainer=lab"]
    command += ["--url=http://127.0.0.1:9", f"--key={place / 'builder.pem'}"]
    command += [f"--passphrase-file={place / 'passphrase'}"]
    command += [f"--scratch={place / 'scratch'}"]
    if denied is not None:
        for path in (place, *place.iterdir()):
            os.chown(path, USER, USER)
        command = [sys.executable, str(AS_USER), json.dumps(denied), *command]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"HOME": str(place), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("denied", "told"),
    [
        pytest.param(
            None,
            "sandbox: user 65534, namespaces mount pid ipc uts net, a root of its own, "
            "user namespace, no capabilities, landlock, seccomp",
            id="root",
        ),
        pytest.param([], f"sandbox: user {USER}, namespaces user mount", id="a user"),
        pytest.param(
            [UNSHARE],
            f"sandbox: user {USER}, no capabilities, landlock, seccomp; missing: "
            "namespaces",
            id="in a container",
        ),
    ],
)
def test_a_worker_says_what_is_in_force(
    place: Path, denied: list[int] | None, told: str
) -> None:
    with working(place, denied) as process:
        assert process.stdout is not None
        said = next((line for line in process.stdout if "sandbox:" in line), "nothing")
    assert said.startswith(told)


def test_a_worker_whose_children_could_read_its_key_takes_no_job(place: Path) -> None:
    with working(place, [UNSHARE, LANDLOCK_CREATE_RULESET]) as process:
        said, _ = process.communicate()
    assert process.returncode != 0
    assert "no job is taken" in said
    assert "builder.pem" in said
    assert "passphrase" in said
