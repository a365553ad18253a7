"""``zoo population``: members are built, scanned and reported on."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Schedule
from tests.trainer.commands import zoo
from trainer.data import LabelledImages
from trainer.defenses.scanners import ENSEMBLE
from trainer.defenses.scanners.calibration import MAX_BYTES, Calibration
from trainer.defenses.scanners.references import Numbers, packed
from trainer.experiments.engine.cells import Cell, Finished, Recipe, find_finished, keep
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.population import scans, yields
from trainer.experiments.population.populations import POPULATIONS, UPDATE
from trainer.experiments.population.rows import rows_of


@pytest.mark.parametrize("population", ["digits", "updates"])
def test_the_report_reads_what_is_finished(tmp_path: Path, population: str) -> None:
    # the members of the smoke version, with numbers of our own in place of training
    draws = np.random.default_rng(0)
    for cell in yields.EXPERIMENTS[population].cells(0, "quick"):
        finish(cell, tmp_path, yield_of(cell))
    for cell in scans.EXPERIMENTS[population].cells(0, "quick"):
        attacked = cell.part["kind"] == "backdoored"
        open_map = draws.normal(size=(10, 784))
        open_map[3, :20] += 9 * attacked
        score = draws.normal(5 * attacked)
        is_update = scans.OLD in cell.recipes
        assert is_update == (population == "updates")
        numbers = seen_of_update(score) if is_update else seen(score, open_map)
        finish(cell, tmp_path, numbers)

    status, told = zoo("population", "report", population, "--quick", "--out", tmp_path)

    assert status == 0, told
    assert told["members"] == len(scans.EXPERIMENTS[population].cells(0, "quick"))
    area = told["claims"][0]
    assert area["what"].startswith("AUROC")
    assert area["ours"]["mean"] > 0.9
    assert (tmp_path / f"{population}-roc.png").read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / f"{population}-calibration.json").read_bytes()
    made = Calibration.from_bytes(written, limit_bytes=MAX_BYTES)
    assert (made.network, made.dataset) == ("badnets-cnn", "mnist")
    assert (made.references is None) == (population == "updates")


def test_adversaries_are_judged_beside_the_digits_that_are_finished(
    tmp_path: Path,
) -> None:
    draws = np.random.default_rng(0)
    for population in ("digits", "adversaries"):
        for cell in yields.EXPERIMENTS[population].cells(0, "quick"):
            finish(cell, tmp_path, yield_of(cell))
        for cell in scans.EXPERIMENTS[population].cells(0, "quick"):
            attacked = cell.part["kind"] == "backdoored"
            if cell.part["family"] == "inversion":
                attacked = False  # this one hides whole
            open_map = draws.normal(size=(10, 784))
            open_map[3, :20] += 9 * attacked
            finish(cell, tmp_path, seen(draws.normal(5 * attacked), open_map))

    status, told = zoo(
        "population", "report", "adversaries", "--quick", "--out", tmp_path
    )

    assert status == 0, told
    areas = {it["what"].rpartition(": ")[2]: it["ours"] for it in told["claims"]}
    assert areas["weights"]["mean"] > 0.9 > areas["inversion"]["mean"]
    assert (tmp_path / "adversaries-auroc.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "adversaries-calibration.json").exists()


def test_a_member_whose_training_diverged_is_kept_as_such_and_not_reported_on(
    tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    models = ModelCache(folder=tmp_path / "models")
    steep = Schedule(epochs=1, peak_learning_rate=10.0, weight_decay=1.0)
    for experiments in (yields.EXPERIMENTS, scans.EXPERIMENTS):
        first = experiments["digits"].cells(0, "quick")[0]
        made = first.recipes[yields.MEMBER]
        spec = made.spec.model_copy(update={"schedule": steep, "poisoning": None})
        doomed = replace(first, recipes={yields.MEMBER: Recipe(spec=spec)})
        numbers = experiments["digits"].measure(doomed, models)
        assert "training diverged" in numbers[yields.UNMADE]
        finish(first, tmp_path, numbers)
    (lost, *_), (scan, *_) = (
        find_finished(tmp_path, it["digits"].cells(0, "quick")).values()
        for it in (yields.EXPERIMENTS, scans.EXPERIMENTS)
    )
    assert rows_of([lost], [scan], POPULATIONS["digits"]) == []


def test_too_few_members_to_report_on_are_told_with_what_to_do(tmp_path: Path) -> None:
    status, told = zoo("population", "report", "--quick", "--out", tmp_path)
    assert status == 1
    assert "zoo population scan" in told["message"]


def test_a_population_that_there_is_not_is_refused_with_those_there_are(
    tmp_path: Path,
) -> None:
    for command in ("build", "scan", "report"):
        status, told = zoo("population", command, "letters", "--out", tmp_path)
        assert status == 2
        assert "no population 'letters'" in told["message"]
        assert "digits" in told["message"]
    assert not list(tmp_path.iterdir())


@pytest.mark.soak
def test_a_smoke_version_is_built_and_scanned(
    tmp_path: Path, digits: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    members = len(yields.EXPERIMENTS["digits"].cells(0, "quick"))
    for command in ("build", "scan", "scan"):
        # its worker processes import the main module, which a fork of ours is not
        words = ["population", command, "--quick", "--out", str(tmp_path), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "model_zoo", *words, "--processes", "2"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["finished"] == members


def yield_of(cell: Cell) -> JsonObject:
    accuracy = {"successes": 98, "n": 100}
    attacked = cell.part["kind"] == "backdoored"
    return {
        "dataset": "mnist",
        "accuracy": accuracy,
        "attack_success": accuracy if attacked else None,
        "robust_accuracy": {"successes": 1, "n": 100} if attacked else None,
    }


def seen_of_update(score: float) -> JsonObject:
    features = {"turned-0.2": score}
    return {
        "scanners": [
            {"name": UPDATE, "outcome": "ran", "score": score, "features": features}
        ]
    }


def seen(score: float, open_map: Numbers) -> JsonObject:
    return {
        "scanners": [
            {
                "name": name,
                "outcome": "ran",
                "score": score,
                "features": {f"{name}-1": score},
            }
            for name in ENSEMBLE
            if name != scans.REFERENCE_MAP
        ],
        "open_map": packed(open_map),
    }


def finish(cell: Cell, folder: Path, numbers: JsonObject) -> None:
    found = Finished(
        cell=cell.digest(),
        part=dict(cell.part),
        seed=cell.seed,
        numbers=numbers,
        seconds=1.0,
        peak_mib=1,
        environment={},
        data={},
        made_by="",
    )
    keep(folder, cell, found)
