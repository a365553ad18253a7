"""``zoo lab`` on real MNIST, killed on the way and taken up again."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trainer.lab.attacks.paths import PATHS_OF_ATTACK
from trainer.lab.scoreboard import OWN

FULL = [sys.executable, "-m", "model_zoo", "lab"]
SMALL = [sys.executable, str(Path(__file__).with_name("small_lab.py"))]
KILLS = 10
DIE_SECONDS = 300
"""For the kernel to end orphans: no clock fails the laboratory itself."""


def start(program: list[str], out: Path) -> subprocess.Popen[bytes]:
    """Start a laboratory as its user does, in a session of its own."""
    with (out.parent / "lab.log").open("ab") as log:
        return subprocess.Popen(
            [*program, f"--out={out}"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def kill(lab: subprocess.Popen[bytes]) -> None:
    """Kill the laboratory alone; what it started has to notice by itself."""
    started = psutil.Process(lab.pid).children(recursive=True)
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    _, alive = psutil.wait_procs(started, timeout=DIE_SECONDS)
    assert alive == []


def finish(program: list[str], out: Path) -> dict[str, object]:
    """Run a laboratory to its end and return its report."""
    lab = start(program, out)
    status = lab.wait()
    assert status == 0, (out.parent / "lab.log").read_text()[-3000:]
    report: dict[str, object] = json.loads((out / "report.json").read_bytes())
    return report


@pytest.mark.timeout(0)
def test_the_laboratory_keeps_its_promises_after_a_kill(tmp_path: Path) -> None:
    out = tmp_path / "lab-report"
    lab = start(SMALL, out)
    _wait_for(out / "work" / "orders.json", lab)
    kill(lab)

    report = finish(SMALL, out)

    assert report["passed"] is True
    assert report["broken_promises"] == []
    scoreboard = report["scoreboard"]
    assert isinstance(scoreboard, list)
    outcomes = {
        (cell["path_of_attack"], cell["level"]): cell["error"] or "accepted"
        for cell in scoreboard
    }
    assert len(outcomes) == len(OWN.levels) * len(PATHS_OF_ATTACK)
    for cell, outcome in {
        ("page edit", "signature"): "ThresholdNotMetError",
        ("host swap", "digest"): "DigestMismatchError",
        ("in transit", "tls"): "UntrustedServerError",
        ("stolen key", "trust"): "accepted",
        ("stolen key", "trust+policy"): "ThresholdNotMetError",
        ("fast-forward", "trust"): "YankedError",
        ("split view", "trust+policy"): "PolicyNotMetError",
    }.items():
        assert outcomes[cell] == outcome, cell
    spot_checks = report["spot_checks"]
    assert isinstance(spot_checks, dict)
    caught = {label for label, found in spot_checks.items() if found["differing"]}
    assert caught == {"badnet", "badnet teacher"}
    page = (out / "report.html").read_text()
    assert "A signature says who, not what" in page
    assert page.count("data:image/png;base64,") == 4
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.soak
def test_the_laboratory_keeps_its_promises_after_ten_kills(tmp_path: Path) -> None:
    out = tmp_path / "lab-report"
    generator = random.Random(1708)
    for _ in range(KILLS):
        lab = start(FULL, out)
        time.sleep(generator.uniform(0.5, 60))
        if lab.poll() is None:
            kill(lab)
    assert finish(FULL, out)["passed"] is True


def _wait_for(path: Path, lab: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert lab.poll() is None, f"the laboratory ended before {path}"
        time.sleep(0.1)
