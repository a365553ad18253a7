"""Every benchmark runs: a quick look, no figure is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.measuring import ratio, summary, take_turns

ROOT = Path(__file__).resolve().parents[2]
CHECKOUTS = ("BACKDOORBOX", "BACKDOORBENCH", "TROJANZOO")
OFFLINE = (
    ("training", "--threads=1"),
    ("jobs",),
    ("experiments", "--parts=mnist"),
    ("scanning",),
)
"""The others make an environment for a peer, which needs the package registry."""


@pytest.mark.soak
@pytest.mark.parametrize("options", OFFLINE, ids=lambda it: it[0])
def test_a_quick_run_prints_the_json_it_keeps(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    environment = {
        key: value for key, value in os.environ.items() if key not in CHECKOUTS
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks"),
            *(*options, "--quick", f"--out={tmp_path}"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    (kept,) = tmp_path.iterdir()
    assert found == json.loads(kept.read_text())
    assert found["quick"]
    assert found["machine"]["cores"] >= 1
    assert found["goals"]


def test_every_benchmark_has_a_name_and_every_name_a_benchmark() -> None:
    no_figure = {
        "__init__",
        "__main__",
        "containers",
        "machine",
        "measuring",
        "peers",
        "processes",
    }
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert modules - no_figure == set(NAMES)


def test_sides_take_turns_and_each_starts_a_round() -> None:
    order: list[str] = []

    def side(name: str) -> dict[str, float]:
        order.append(name)
        return {"seconds": 1.0}

    take_turns({"a": lambda: side("a"), "b": lambda: side("b")}, rounds=2)
    assert order == ["a", "b", "b", "a"]


def test_a_ratio_is_taken_within_a_round() -> None:
    above = [{"seconds": 2.0}, {"seconds": 30.0}, {"seconds": 8.0}]
    below = [{"seconds": 1.0}, {"seconds": 10.0}, {"seconds": 2.0}]
    assert ratio(above, below) == {"n": 3, "median": 3.0, "min": 2.0, "max": 4.0}


def test_a_summary_tells_n_median_and_extremes() -> None:
    assert summary([3, 1, 2]) == {"n": 3, "median": 2.0, "min": 1.0, "max": 3.0}
