"""The benchmark ``gpu``: skipped by name without one, and rehearsed on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import GRACE_SECONDS, NO_DEVICE, SECONDS, _goals
from model_zoo.canonical import JsonObject

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 9 * 60


def run(tmp_path: Path, *options: str) -> tuple[JsonObject, str]:
    """Return the figures, which are also kept, and what was told beside them."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "gpu", f"--out={tmp_path}", *options],
        cwd=ROOT,
        env={**os.environ, "ZOO_DATA_DIR": str(tmp_path / "no data")},
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (kept,) = tmp_path.glob("gpu*.json")
    found = json.loads(done.stdout)
    assert found == json.loads(kept.read_text())
    return found, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_every_part_is_skipped_by_name(tmp_path: Path) -> None:
    found, told = run(tmp_path)
    assert told.splitlines()[-1] == NO_DEVICE == "skipped: no CUDA device"
    assert found["parts"] == dict.fromkeys(SECONDS, NO_DEVICE)
    assert found["goals"] == {}


@pytest.mark.soak  # a minute of processor time, of which torch's compiler is imported
def test_a_rehearsal_on_the_cpu_does_every_task_of_every_part(tmp_path: Path) -> None:
    found, _ = run(tmp_path, "--quick", "--device=cpu")
    assert found["parts"].keys() == SECONDS.keys()
    done = {
        f"{part}: {name}": it
        for part, tasks in found["parts"].items()
        for name, it in tasks.items()
    }
    assert not {name: it for name, it in done.items() if "failed" in it}
    needs_more = {name for name, it in done.items() if "skipped" in it}
    assert needs_more == {
        "sandbox: a child in its sandbox",
        *(name for name in done if name.endswith("CUDA graph")),
    }
    assert all(it["met"] for name, it in found["goals"].items() if "goal:" not in name)


def test_all_parts_together_end_in_nine_minutes() -> None:
    assert sum(SECONDS.values()) + GRACE_SECONDS < MOST_SECONDS


def test_what_fails_or_differs_is_a_goal_that_is_missed() -> None:
    alike = {"accuracy": 0.99}
    goals = _goals(
        {
            "determinism": {"detector": {"equal": False}, "fit": {"equal": True}},
            "agreement": {
                "metrics": {"cpu": alike, "device": {"accuracy": 0.97}},
                "repair": {"cpu": alike, "device": {"accuracy": 0.985}},
                "images": {"failed": "RuntimeError: no kernel image"},
            },
            "goal": {"batch of 48": {"reached": False}},
            "sandbox": {"child": {"on_the_device": False}, "other": {"skipped": "x"}},
            "rates": {"step": {"steps": 1}, "its process": {"failed": "killed"}},
        }
    )
    assert {name for name, it in goals.items() if not it["met"]} == {
        "determinism: detector",
        "agreement: metrics",
        "agreement: images",
        "goal: batch of 48",
        "sandbox: child",
        "rates: its process",
    }
    assert goals.keys() == {
        "determinism: detector",
        "determinism: fit",
        "agreement: metrics",
        "agreement: repair",
        "agreement: images",
        "goal: batch of 48",
        "sandbox: child",
        "rates: step",
        "rates: its process",
    }
