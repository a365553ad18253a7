"""``zoo lab`` on real MNIST, killed on the way and taken up again.

A spec from outside plays a part of the story in test_bring_your_own.py, in a minute.
"""

import random
import re
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.labs import finish, kill, killed_once, require_kept, start

FULL = [sys.executable, "-m", "model_zoo", "lab"]
SMALL = [sys.executable, str(Path(__file__).with_name("small_lab.py"))]
KILLS = 10


@pytest.mark.soak
def test_the_laboratory_keeps_its_promises_after_a_kill(tmp_path: Path) -> None:
    out = tmp_path / "lab-report"

    report = killed_once(SMALL, out)

    require_kept(report)
    checks = report["spot_checks"]
    caught = {label for label, found in checks.items() if found["differing"]}
    assert caught == {"badnet", "badnet teacher"}
    page = (out / "report.html").read_text()
    assert "A signature says who, not what" in page
    refused = {
        cell["path_of_attack"]
        for cell in report["scoreboard"]
        if (cell["level"], cell["error"]) == ("trust+scan", "SuspiciousError")
    }
    assert refused >= {"malicious publisher", "stolen key", "typosquat"}
    # trigger, curves, transfer, repairs; the trigger's change and four networks'
    assert page.count("data:image/png;base64,") == 4 + 5
    verdicts = {
        label: it["scan"]["verdict"] for label, it in report["scans"].items()
    } | {it["teacher"]: it["scan"]["verdict"] for it in report["transfer"]}
    assert verdicts == {
        "clean": "nothing found",
        "badnet": "suspicious",
        "clean teacher": "nothing found",
        "badnet teacher": "suspicious",
    }
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
