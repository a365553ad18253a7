"""Children that are copies of one process: what they start with, and how they end."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

from tests.trainer.hostile import AS_USER
from trainer.jobs import forkserver

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_CTYPE": "C.UTF-8"}
"""Python itself adds the second where no locale is given."""
PATIENCE_SECONDS = 300
FACTS = """
import json, os, sys, tempfile
print(json.dumps({
    "arguments": sys.argv[1:],
    "descriptors": sorted(int(it) for it in os.listdir("/proc/self/fd")),
    "environment": dict(os.environ),
    "parent": os.getppid(),
    "session": os.getsid(0) == os.getpid(),
    "temporary": tempfile.gettempdir(),
    "torch": "torch" in sys.modules,
}))
"""


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """A program that prints what it starts with."""
    return written(tmp_path, FACTS)


@pytest.fixture(autouse=True)
def _no_server_is_left() -> Iterator[None]:
    yield
    forkserver.end_server()


def written(folder: Path, program: str) -> Path:
    script = folder / "program.py"
    script.write_text(textwrap.dedent(program))
    return script


def started(
    script: Path,
    *words: str,
    environment: Mapping[str, str] = ENVIRONMENT,
    more: Mapping[str, str] = MappingProxyType({}),
    needs_torch: bool = False,
) -> forkserver.Copied:
    with tempfile.TemporaryFile() as stderr:
        return forkserver.start(
            [str(script), *words],
            environment=environment,
            more=more,
            stderr=stderr,
            needs_torch=needs_torch,
        )


def told(child: forkserver.Copied) -> dict[str, Any]:
    """Return what a child that runs FACTS printed."""
    with child:
        found: dict[str, Any] = json.loads(child.stdout.read())
        assert child.wait(PATIENCE_SECONDS) == 0
    return found


def _told_of(facts: Path) -> None:
    told(started(facts))


def server() -> psutil.Process:
    it = forkserver._here.server
    assert it is not None
    return psutil.Process(it.process.pid)


@pytest.mark.parametrize("needs_torch", [False, True])
def test_a_child_has_its_arguments_its_environment_and_three_descriptors(
    facts: Path, tmp_path: Path, *, needs_torch: bool
) -> None:
    more = {"TMPDIR": str(tmp_path)}
    found = told(started(facts, "a", "b c", more=more, needs_torch=needs_torch))
    assert found["arguments"] == ["a", "b c", str(found["parent"])]
    assert found["environment"] == ENVIRONMENT | {"TMPDIR": str(tmp_path)}
    assert found["temporary"] == str(tmp_path)
    assert found["session"]
    # the fourth is the folder that it listed
    assert found["descriptors"] == [0, 1, 2, 3]


def test_torch_is_there_for_the_children_that_need_it(facts: Path) -> None:
    assert not told(started(facts))["torch"]
    assert told(started(facts, needs_torch=True))["torch"] == (sys.platform == "linux")


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_a_child_ends_with_its_own_status(status: int, tmp_path: Path) -> None:
    with started(written(tmp_path, f"import sys; sys.exit({status})")) as child:
        assert child.wait(PATIENCE_SECONDS) == status
    assert child.poll() == child.returncode == status


def test_a_child_that_fails_says_why_on_its_stderr(tmp_path: Path) -> None:
    script = written(tmp_path, "1 / 0")
    with tempfile.TemporaryFile() as stderr:
        with forkserver.start(
            [str(script)],
            environment=ENVIRONMENT,
            more={},
            stderr=stderr,
            needs_torch=False,
        ) as child:
            assert child.wait(PATIENCE_SECONDS) == 1
        stderr.seek(0)
        assert b"ZeroDivisionError" in stderr.read()


def test_a_killed_child_is_reported_with_its_signal(tmp_path: Path) -> None:
    program = """
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
    """
    with started(written(tmp_path, program)) as child:
        assert child.wait(PATIENCE_SECONDS) == -signal.SIGTERM


def test_no_child_waits_for_another(tmp_path: Path) -> None:
    echo = written(tmp_path, "print(input(), flush=True); input()")
    with started(echo) as first, started(echo) as second:
        assert first.poll() is None
        for child, word in ((second, b"second\n"), (first, b"first\n")):
            child.stdin.write(word)
            assert child.stdout.readline() == word
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0)
            child.stdin.write(b"\n")
            assert child.wait(PATIENCE_SECONDS) == 0


def test_a_killed_server_is_replaced_and_takes_no_child_along(
    tmp_path: Path, facts: Path
) -> None:
    (tmp_path / "other").mkdir()
    program = "print('here', flush=True); print(input())"
    with started(written(tmp_path / "other", program)) as child:
        assert child.stdout.readline() == b"here\n"
        killed = server()
        killed.kill()
        psutil.wait_procs([killed], timeout=PATIENCE_SECONDS)
        child.stdin.write(b"alive\n")
        assert child.stdout.readline() == b"alive\n"
        assert child.wait(PATIENCE_SECONDS) == 0
    assert told(started(facts))
    assert server().pid != killed.pid


def test_whose_guardian_is_killed_counts_as_killed(tmp_path: Path) -> None:
    program = """
    import os
    print(os.getppid(), flush=True)
    input()
    """
    with started(written(tmp_path, program)) as child:
        os.kill(int(child.stdout.readline()), signal.SIGKILL)
        assert child.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_another_environment_gets_another_server(facts: Path) -> None:
    told(started(facts))
    before = server()
    other = ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": "3"}
    assert told(started(facts, environment=other))["environment"] == other
    assert server().pid != before.pid
    assert not before.is_running()


def test_a_process_that_was_forked_has_a_server_of_its_own(facts: Path) -> None:
    told(started(facts))
    fork = multiprocessing.get_context("fork").Process(target=_told_of, args=(facts,))
    fork.start()
    fork.join(PATIENCE_SECONDS)
    assert fork.exitcode == 0
    assert told(started(facts))


def test_a_server_ends_with_whoever_started_it(facts: Path) -> None:
    program = (
        "import sys, tempfile\n"
        "from trainer.jobs import forkserver\n"
        "child = forkserver.start([sys.argv[1]], environment={}, more={},"
        " stderr=tempfile.TemporaryFile(), needs_torch=False)\n"
        "child.wait()\n"
        "print(forkserver._here.server.process.pid, flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", program, str(facts)]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as owner:
        assert owner.stdout is not None
        its_server = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    _, alive = psutil.wait_procs([its_server], timeout=PATIENCE_SECONDS)
    assert alive == []


def test_a_server_that_dies_at_any_moment_ends_nobody_but_a_child(facts: Path) -> None:
    for _ in range(10):
        with started(facts) as child:
            child.wait(PATIENCE_SECONDS)
        server().kill()
        with started(facts) as child:
            assert child.wait(PATIENCE_SECONDS) in {0, -signal.SIGKILL}
    assert told(started(facts))
    here = forkserver._here.server
    assert here is not None
    here.control.shutdown(socket.SHUT_RDWR)  # as when it dies after it was looked at
    assert told(started(facts))


def test_nothing_of_a_child_is_left_whose_guardian_was_killed(tmp_path: Path) -> None:
    program = """
    import os, sys, time
    print(os.getppid(), flush=True)
    sys.stdin.read()
    time.sleep(0.5)
    open(sys.argv[1], "x").close()
    """
    last_act = tmp_path / "last-act"
    with started(written(tmp_path, program), str(last_act)) as child:
        os.kill(int(child.stdout.readline()), signal.SIGKILL)
        assert child.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        assert not last_act.exists()
    assert last_act.exists()


def test_a_process_forked_in_the_middle_of_a_start_can_start_children(
    facts: Path,
) -> None:
    told(started(facts))
    with forkserver._here.lock:
        fork = multiprocessing.get_context("fork").Process(
            target=_told_of, args=(facts,)
        )
        fork.start()
        fork.join(PATIENCE_SECONDS)
    assert fork.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_nobody_of_the_same_user_reads_a_servers_memory_or_a_guardians() -> None:
    program = (
        "import json, os, psutil, sys, tempfile\n"
        "from trainer.jobs import forkserver\n"
        "stderr = tempfile.TemporaryFile()\n"
        "options = dict(environment={}, more={}, stderr=stderr, needs_torch=False)\n"
        "with forkserver.start([sys.argv[1]], **options) as child:\n"
        "    child.stdout.readline()\n"
        "    (server,) = psutil.Process().children()\n"
        "    (guardian,) = server.children()\n"
        "    (copy,) = guardian.children()\n"
        "    it = (server, guardian, copy)\n"
        "    print([os.stat(f'/proc/{one.pid}/mem').st_uid for one in it])\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # those of pytest are entered by their owner only
        script = written(Path(folder), "print('here', flush=True); input()")
        command = [sys.executable, "-c", program, str(script)]
        if os.geteuid() == 0:
            command = [sys.executable, str(AS_USER), "[]", *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    of_server, of_guardian, of_copy = json.loads(done.stdout)
    assert of_server == of_guardian == 0
    assert of_copy != 0
