"""The ``zoo`` command in a process of its own, which has imported torch already."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from trainer.jobs import forkserver

SCRIPT = Path(__file__).with_name("one_command.py")
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_CTYPE": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
}
"""The fork server's; a command has that of its test."""


def zoo(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Run one command with --json; return its exit code and its document."""
    words = [*map(str, arguments), "--json"]
    told = json.dumps([str(Path.cwd()), dict(os.environ), words])
    with (
        tempfile.TemporaryFile() as stderr,
        forkserver.start(
            [str(SCRIPT), told],
            environment=ENVIRONMENT,
            more={},
            stderr=stderr,
            needs_torch=True,
        ) as child,
    ):
        out = child.stdout.read()
        status = child.wait()
        stderr.seek(0)
        assert out, stderr.read().decode()
    return status, json.loads(out)
