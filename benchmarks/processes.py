"""Children of a benchmark: sides that answer in JSON, and a zoo to speak to."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from model_zoo.canonical import JsonObject
from trainer.lab.actors.processes import running, wait_for_ready

ROOT = Path(__file__).resolve().parent.parent
SIDES = Path(__file__).resolve().parent / "sides"
SIDE_SECONDS = 1800


class SideError(Exception):
    """A side of a benchmark failed; the message ends with what it wrote."""


def ask(
    side: str,
    task: JsonObject,
    *,
    python: Path | str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> JsonObject:
    """Run a side as a process of its own and return its last line of output.

    Args:
        side: the name of a module in ``benchmarks/sides``.
        task: what it is told, as JSON in its one argument.
        python: the interpreter of the environment it needs.
        environment: variables beside those of this process.

    Raises:
        SideError: it failed.
    """
    done = subprocess.run(  # noqa: S603  our own module
        command(side, task, python=python),
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=SIDE_SECONDS,
        check=False,
    )
    if done.returncode:
        msg = f"{side}: exit {done.returncode}\n{done.stderr[-2000:]}"
        raise SideError(msg)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def command(
    side: str, task: JsonObject, *, python: Path | str = sys.executable
) -> list[str]:
    """Return the command that runs a side; ours are modules, peers' are scripts."""
    if str(python) == sys.executable:
        return [sys.executable, "-m", f"benchmarks.sides.{side}", json.dumps(task)]
    return [str(python), str(SIDES / f"{side}.py"), json.dumps(task)]


@contextmanager
def zoo_served(folder: Path, *, workers: int = 0) -> Iterator[str]:
    """Run ``zoo serve`` with its data in ``folder`` and yield its URL."""
    ready, log = folder / "ready.json", folder / "serve.log"
    arguments = [
        "model_zoo",
        "serve",
        f"--data-dir={folder / 'data'}",
        "--port=0",
        f"--workers={workers}",
        f"--ready-file={ready}",
    ]
    with running(arguments, log=log) as process:
        yield wait_for_ready(ready, process=process, log=log)["url"]
