"""The command on a real socket: start, speak, refuse, and end."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import psutil

from service.jobs.workers import Workers
from service.storage.high_water_mark import SERVED_FILE
from tests.service import forked
from tests.service.zoo import API, BUILDER, parse_events

PATIENCE_SECONDS = 300
ZOO = [sys.executable, "-m", "model_zoo"]
TOKEN = "t" * 40


def command(folder: Path, *options: str) -> list[str]:
    own = {
        "--data-dir": folder / "zoo",
        "--ready-file": folder / "ready.json",
        "--port": 0,
        "--workers": 0,
    }
    words = [f"{name}={value}" for name, value in own.items() if name not in options]
    return ["serve", *words, *options]


def wait_for(path: Path, process: subprocess.Popen[str]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(json.loads(path.read_text()))


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[str, BaseProcess]]:
    """Give the URL and the process of a real server, which writes to ``said-by-it``."""
    process = forked.zoo(*command(folder, *options), said=folder / "said-by-it")
    path, deadline = folder / "ready.json", time.monotonic() + PATIENCE_SECONDS
    try:
        while not path.exists():
            assert process.is_alive(), (folder / "said-by-it").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ready = json.loads(path.read_text())
        assert ready["pid"] == process.pid
        yield ready["url"], process
    finally:
        process.kill()
        process.join()


@contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give the same of a server that ``python -m`` started."""
    program = [sys.executable, "-m", "model_zoo", *command(folder, *options)]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = wait_for(folder / "ready.json", process)
            assert ready["pid"] == process.pid
            yield ready["url"], process
        finally:
            process.kill()


def refused(folder: Path, *options: str) -> tuple[int, str]:
    """Return exit code and words of a server that must not start."""
    said = folder / "said"
    process = forked.zoo(*command(folder, *options), said=said)
    process.join(PATIENCE_SECONDS)
    process.kill()
    words = said.read_text()
    said.unlink()
    assert process.exitcode is not None
    assert "Traceback" not in words
    return process.exitcode, words


def client(url: str, **kwargs: Any) -> httpx.Client:  # noqa: ANN401  httpx's own
    return httpx.Client(
        base_url=url + API, trust_env=False, timeout=PATIENCE_SECONDS, **kwargs
    )


def test_a_server_starts_answers_and_ends_when_told(tmp_path: Path) -> None:
    with started(tmp_path) as (url, process):
        assert url.startswith("http://127.0.0.1:")
        with client(url) as http:
            assert http.get("/models").json() == {"items": []}
            assert "server" not in http.get("/models").headers
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_port_in_use_is_told_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, words = refused(tmp_path, "--port", str(port))
    assert code == 1
    assert f"port {port} is in use" in words


def test_a_second_server_over_one_folder_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path):
        code, words = refused(tmp_path)
    assert code == 1
    assert "another zoo serves from" in words


def test_a_second_server_with_the_same_keys_is_refused(tmp_path: Path) -> None:
    keys = tmp_path / "zoo" / "trust"
    with serving(tmp_path):
        before = (keys / SERVED_FILE).read_bytes()
        code, words = refused(
            tmp_path,
            *("--data-dir", str(tmp_path / "other")),
            f"--trust-dir={keys}",
            "--accept-loss=1",
        )
        assert (keys / SERVED_FILE).read_bytes() == before
    assert code == 1
    assert f"another zoo signs with the keys in {keys}" in words


def test_the_keys_of_a_server_that_was_killed_are_free_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1") as (_, process):
        process.kill()
        process.join(PATIENCE_SECONDS)
        (tmp_path / "ready.json").unlink()
        with serving(tmp_path, f"--trust-dir={tmp_path / 'zoo' / 'trust'}"):
            pass


def test_the_operator_works_in_the_folder_of_keys_while_it_serves(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "zoo" / "trust"
    holder = (
        f"--key={keys / 'root-1.pem'}",
        f"--passphrase-file={keys / 'passphrase'}",
    )
    said, root = tmp_path / "said", str(keys / "root.json")
    with serving(tmp_path):
        for words in (("show",), ("sign", *holder)):
            done = forked.zoo("trust", *words, root, said=said)
            done.join(PATIENCE_SECONDS)
            assert done.exitcode == 0, said.read_text()


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "zoo").write_text("a file where the folder should be")
    code, words = refused(tmp_path)
    assert code == 1
    assert "cannot use data folder" in words


def test_a_database_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "zoo.db").write_bytes(b"not a database" * 1000)
    code, words = refused(tmp_path)
    assert code == 1
    assert "cannot use the database" in words


def test_beyond_loopback_a_token_file_is_needed(tmp_path: Path) -> None:
    code, words = refused(tmp_path, "--host", "0.0.0.0")  # noqa: S104  refused
    assert code == 5
    assert "--token-file" in words
    (tmp_path / "token").write_text("short\n")
    code, words = refused(tmp_path, "--token-file", str(tmp_path / "token"))
    assert code == 2
    assert "32" in words
    code, words = refused(tmp_path, "--token-file", str(tmp_path / "nothing"))
    assert code == 1
    assert not (tmp_path / "zoo").exists()


def test_a_token_from_a_file_opens_the_service_and_is_never_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    with serving(tmp_path, "--token-file", str(tmp_path / "token")) as (url, process):
        with client(url) as http:
            assert http.get("/models").status_code == 401
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert http.get("/models", headers=headers).status_code == 200
        process.terminate()
        process.join(PATIENCE_SECONDS)
        assert TOKEN not in (tmp_path / "said-by-it").read_text()


def test_a_watcher_sees_each_event_as_it_happens(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, _), client(url) as http:
        key = {"public_key": BUILDER.public.to_pem()}
        http.put("/trainers/lab", json=key)
        job = http.post("/jobs", json={"kind": "noop", "trainer": "lab", "spec": {}})
        path = f"/jobs/{job.json()['id']}"
        seen: list[str] = []
        with http.stream("GET", f"{path}/events") as stream:
            for line in stream.iter_lines():
                seen.append(line)
                if line == "event: queued":
                    with client(url) as other:
                        other.post(f"{path}/cancel", json={})
        events = parse_events("\n".join(seen))
    assert [event["event"] for event in events] == ["queued", "cancelled"]


def test_a_killed_server_loses_no_job(tmp_path: Path) -> None:
    body = {"kind": "noop", "trainer": "lab", "spec": {}}
    with serving(tmp_path) as (url, process), client(url) as http:
        http.put("/trainers/lab", json={"public_key": BUILDER.public.to_pem()})
        accepted = [http.post("/jobs", json=body).json()["id"] for _ in range(3)]
        process.kill()
        process.join(PATIENCE_SECONDS)
    (tmp_path / "ready.json").unlink()
    with serving(tmp_path) as (url, _), client(url) as http:
        items = http.get("/jobs").json()["items"]
    assert {job["id"] for job in items} == set(accepted)
    with sqlite3.connect(tmp_path / "zoo" / "zoo.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_importing_the_command_waits_for_no_framework() -> None:
    code = (
        "import sys, service.cli; print([m for m in "
        "('fastapi', 'sqlalchemy', 'uvicorn', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def children_of(pid: int, marker: str) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    lines = {child: child.as_dict(["cmdline"])["cmdline"] for child in children}
    return [child for child, line in lines.items() if marker in (line or [])]


def until(found: Callable[[], Any]) -> Any:  # noqa: ANN401  what the question returns
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def test_a_worker_that_dies_is_started_again_and_ends_when_told() -> None:
    marker = f"worker-of-{os.getpid()}-a"
    sleep = [sys.executable, "-c", "import time; time.sleep(600)", marker]
    workers = Workers([sleep])
    workers.start()
    try:
        first = until(lambda: children_of(os.getpid(), marker))[0]
        first.kill()
        again = until(
            lambda: [
                child
                for child in children_of(os.getpid(), marker)
                if child.pid != first.pid
            ]
        )[0]
        assert again.is_running()
    finally:
        workers.stop()
    assert children_of(os.getpid(), marker) == []


def test_the_embedded_worker_does_a_job_that_needs_no_torch(tmp_path: Path) -> None:
    body = {"kind": "noop", "trainer": "embedded", "spec": {"note": "hello"}}
    before = set(psutil.Process().children(recursive=True))
    with (
        started(tmp_path, "--workers", "1") as (url, process),
        client(url) as http,
    ):
        job = http.post("/jobs", json=body).json()
        path = f"/jobs/{job['id']}"
        ended = {"succeeded", "failed", "cancelled"}
        done = until(lambda: (j := http.get(path).json())["state"] in ended and j)
        assert done["state"] == "succeeded", done
        assert http.get(f"{path}/draft").json()["files"]
        keys = list((tmp_path / "zoo" / "keys").iterdir())
        assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert set(psutil.Process().children(recursive=True)) <= before


def test_workers_die_with_a_server_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid()))"
    child += "; time.sleep(600)"
    parent = (
        "import sys, time; from service.jobs.workers import Workers; "
        f"Workers([[sys.executable, '-c', {child!r}]]).start(); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        until(lambda: pid_file.exists() and pid_file.read_text())
        worker = psutil.Process(int(pid_file.read_text()))
        process.kill()
    psutil.wait_procs([worker], timeout=PATIENCE_SECONDS)
    assert not worker.is_running()
