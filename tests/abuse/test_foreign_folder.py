"""A folder that somebody else filled is no place from which code is taken."""
# ruff: noqa: ANN401
# Typer brings another click in each version, whose commands are read here.

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import model_zoo
import service
import trainer
from model_zoo.cli import build
from model_zoo.client.zoo import ZooClient
from model_zoo.statements.jobs import NoopSpec
from service.jobs.workers import TRAINER
from tests.service.test_serving import wait_for

PACKAGES = (model_zoo, service, trainer)
ZOO = Path(sys.executable).with_name("zoo")
FORKS = Path(__file__).with_name("commands_in_forks.py")
PLANTED = (
    *("model_zoo/__init__.py", "service/__init__.py", "trainer/__init__.py"),
    *("model_zoo/__main__.py", "trainer/jobs/forkserver.py", "sitecustomize.py"),
    *("usercustomize.py", "json.py", "torch.py", "numpy.py", "typing.py", "pip.py"),
    *("venv.py", "typer.py", "httpx.py", "uvicorn.py", "sqlalchemy.py"),
)
MARK = "it-ran"
NUMBERS = {"--min-accuracy": "0.5", "--held-out": "1"}
RUNS_FOR_EVER = {"serve"}
"""Played from end to end by a test of its own."""
LONG_ENOUGH = 10
"""A command that still works after so many seconds has imported what it imports."""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder full of code that leaves a mark where it is imported."""
    folder = tmp_path / "foreign"
    for name in PLANTED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(folder / MARK)!r}, 'a').write({name!r})\n")
    return folder


def outside(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which no command reaches a network or a home."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nowhere)
    return kept | proxies | {"HOME": str(tmp_path), "ZOO_URL": nowhere}


def leaves(
    command: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words of every command below ``command``."""
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from leaves(child, (*path, name))
    if not children:
        yield path, command


def words(path: tuple[str, ...], command: Any) -> list[str]:
    """Return a call with something for everything that the command demands."""
    call = [*path]
    for parameter in command.params:
        if parameter.required:
            option = parameter.opts[0]
            value = NUMBERS.get(option, "alice/digits@1")
            call += [option, value] if option.startswith("-") else [value]
    return call


def run(calls: list[list[str]], *, foreign: Path, environment: dict[str, str]) -> None:
    mark = str(foreign / MARK)
    subprocess.run(
        [sys.executable, str(FORKS), str(LONG_ENOUGH), mark, json.dumps(calls)],
        cwd=foreign,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )


def test_no_command_runs_what_lies_where_it_is_started(
    foreign: Path, tmp_path: Path
) -> None:
    environment = outside(tmp_path)
    calls = [
        words(path, command)
        for path, command in leaves(typer.main.get_command(build()))
        if path[0] not in RUNS_FOR_EVER
    ]
    assert len(calls) > len(PACKAGES)
    run(calls, foreign=foreign, environment=environment)
    assert not (foreign / MARK).exists(), (foreign / MARK).read_text()


def test_a_service_and_the_jobs_it_does_run_nothing_of_the_folder(
    foreign: Path, tmp_path: Path
) -> None:
    ready = tmp_path / "ready.json"
    command = [str(ZOO), "serve", "--port=0", f"--ready-file={ready}"]
    command += [f"--data-dir={tmp_path / 'zoo'}"]
    with subprocess.Popen(
        command, cwd=foreign, env=outside(tmp_path), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with ZooClient(wait_for(ready, process)["url"]) as zoo:
                job = zoo.submit(NoopSpec(), trainer=TRAINER)
                while not job.is_final and not (foreign / MARK).exists():
                    time.sleep(0.2)
                    job = zoo.job(job.id)
        finally:
            process.terminate()
    assert not (foreign / MARK).exists(), (foreign / MARK).read_text()
    assert job.state == "succeeded", job


def test_python_m_takes_no_module_from_there_but_the_one_it_is_told_to_run(
    foreign: Path, tmp_path: Path
) -> None:
    for path in (foreign / "model_zoo").iterdir():
        path.unlink()
    (foreign / "model_zoo").rmdir()
    command = [sys.executable, "-m", "model_zoo", "--json", "data", "list"]
    done = subprocess.run(
        command, cwd=foreign, env=outside(tmp_path), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert not (foreign / MARK).exists(), (foreign / MARK).read_text()


def test_every_python_that_is_started_leaves_out_the_working_folder() -> None:
    started = [
        (path.name, words_after)
        for package in PACKAGES
        for path in Path(str(package.__file__)).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if (words_after := _after_interpreter(node)) is not None
    ]
    assert len(started) > len(PACKAGES)
    assert [it for it in started if "-m" in it[1] and it[1][0] != "-P"] == []


def _after_interpreter(node: ast.AST) -> list[str] | None:
    """Return the constants that follow ``sys.executable`` in a list or a call."""
    if isinstance(node, ast.List | ast.Tuple):
        items = node.elts
    elif isinstance(node, ast.Call):
        items = node.args
    else:
        return None
    spelled = [ast.unparse(it) for it in items]
    if "sys.executable" not in spelled and "str(python)" not in spelled:
        return None
    return [str(it.value) for it in items if isinstance(it, ast.Constant)]
