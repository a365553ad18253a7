"""Laboratories as their users run them: killed, taken up, and what they must find."""

import json
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import psutil

from trainer.lab.attacks.paths import PATHS_OF_ATTACK
from trainer.lab.scoreboard import OWN

DIE_SECONDS = 300
"""For the kernel to end orphans: no clock fails the laboratory itself."""
OUTCOMES = {
    ("page edit", "signature"): "ThresholdNotMetError",
    ("host swap", "digest"): "DigestMismatchError",
    ("in transit", "tls"): "UntrustedServerError",
    ("stolen key", "trust"): "accepted",
    ("stolen key", "trust+policy"): "ThresholdNotMetError",
    ("fast-forward", "trust"): "YankedError",
    ("split view", "trust+policy"): "PolicyNotMetError",
}
"""Of some cells: path of attack and level -> what becomes of the victim."""


def start(
    command: Sequence[str], out: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a laboratory in a session of its own; its report goes to ``out``."""
    with (out.parent / "lab.log").open("ab") as log:
        return subprocess.Popen(
            [*command, f"--out={out}"],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def kill(lab: subprocess.Popen[bytes]) -> None:
    """Kill the laboratory alone; what it started has to notice by itself."""
    started = psutil.Process(lab.pid).children(recursive=True)
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    _, alive = psutil.wait_procs(started, timeout=DIE_SECONDS)
    assert alive == []


def finish(
    command: Sequence[str], out: Path, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a laboratory to its end and return its report."""
    status = start(command, out, environment).wait()
    assert status == 0, (out.parent / "lab.log").read_text()[-3000:]
    report: dict[str, Any] = json.loads((out / "report.json").read_bytes())
    return report


def killed_once(
    command: Sequence[str], out: Path, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Kill a laboratory when its orders are out, take it up, return its report."""
    lab = start(command, out, environment)
    while not (out / "work" / "orders.json").exists():
        assert lab.poll() is None, (out.parent / "lab.log").read_text()[-3000:]
        time.sleep(0.1)
    kill(lab)
    return finish(command, out, environment)


def require_kept(
    report: Mapping[str, Any], paths: Collection[str] = PATHS_OF_ATTACK
) -> None:
    """Accept a report in which every promise is kept and those attacks were played."""
    assert report["broken_promises"] == []
    assert report["passed"] is True
    found = {
        (cell["path_of_attack"], cell["level"]): cell["error"] or "accepted"
        for cell in report["scoreboard"]
    }
    assert set(found) == set(product(paths, OWN.levels))
    expected = {cell: end for cell, end in OUTCOMES.items() if cell[0] in paths}
    assert {cell: found[cell] for cell in expected} == expected
