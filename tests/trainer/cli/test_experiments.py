"""``zoo experiment``: what it says, where it writes, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from model_zoo.cli.output import answer_in_json
from model_zoo.errors import (
    ExpectationError,
    InvalidSpecError,
    LocalError,
    ZooError,
)
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.jobs import TrainSpec
from tests.trainer.experiments.command import experiment
from tests.trainer.experiments.samples import (
    NAME,
    all_cells,
    cells,
    finished,
    made_up,
    parts,
)
from trainer.data import DATASETS, LabelledImages
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.cells import Recipe, Scale, keep
from trainer.experiments.engine.experiment import Part, Verdict

ROOT = Path(__file__).parents[3]
PROGRAM = (
    "import typer; from model_zoo.cli.parsing import spread;"
    "from trainer.cli.experiments import experiment; app = typer.Typer();"
    "app.callback()(lambda: None); app.command()(spread(experiment)); app()"
)
PATIENCE_SECONDS = 300.0
GONE_SECONDS = 60
"""Enough to start and look around, and far less than a cell takes."""
OTHER = "also-made-up"


@pytest.fixture
def _only_ours() -> Iterator[None]:
    """One experiment; afterwards all of them are back, in their order."""
    everything = dict(EXPERIMENTS)
    EXPERIMENTS.clear()
    EXPERIMENTS[NAME] = made_up()
    yield
    EXPERIMENTS.clear()
    EXPERIMENTS.update(everything)


@pytest.fixture(autouse=True)
def _away(_only_ours: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From an empty folder, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _in_json() -> Iterator[None]:
    answer_in_json(chosen=True)
    yield
    answer_in_json(chosen=False)


def keep_all(folder: Path, *, seeds: int = 3) -> None:
    """Keep every cell as finished, so that none is run."""
    for it in all_cells(seeds):
        keep(folder, it, finished(it))


def add(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    monkeypatch.setitem(EXPERIMENTS, NAME, made_up(verdict=verdict))


def need_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add an experiment whose data set nobody has."""

    def ensure() -> None:
        msg = "no such folder; put it into a-place"
        raise LocalError(msg)

    lacking = replace(DATASETS["mnist"], ensure=ensure)
    monkeypatch.setitem(DATASETS, "nowhere", lacking)
    other = replace(made_up(), name=OTHER, datasets=("nowhere",))
    monkeypatch.setitem(EXPERIMENTS, OTHER, other)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trainer": "lab"}, "go together"),
        ({"builder": Path("lab.pub")}, "go together"),
        ({"trainer": "lab", "builder": Path("nowhere.pub")}, "nowhere.pub"),
        ({"trainer": "lab", "builder": Path("junk.pub")}, "Ed25519 public key"),
        ({"trainer": "lab", "builder": Path("lab.pub"), "url": "ftp://x"}, "ftp"),
        (
            {
                "trainer": "lab",
                "builder": Path("lab.pub"),
                "token_file": Path("no-token"),
            },
            "no-token",
        ),
    ],
)
def test_an_order_that_cannot_be_given_is_refused_before_anything_runs(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    Path("lab.pub").write_text(SigningKey.generate().public.to_pem())
    Path("junk.pub").write_text("junk")
    with pytest.raises(ZooError, match=told):
        experiment(NAME, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_without_a_name_they_are_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = cells(0, "full")[0]
    keep(tmp_path / "results", first, finished(first))
    experiment()
    told = f"{NAME}: Made up (4.2, figure 9); 1 of 6 cells"
    assert told in capfd.readouterr().err
    assert not (tmp_path / "results" / "report.html").exists()


def test_what_lacks_its_data_hides_nothing_from_the_list(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def lacking(_seed: int, _scale: Scale) -> list[Part]:
        msg = "no such folder; put it into a-place"
        raise LocalError(msg)

    first = replace(made_up(), name=OTHER, parts=lacking)
    monkeypatch.delitem(EXPERIMENTS, NAME)
    monkeypatch.setitem(EXPERIMENTS, OTHER, first)
    monkeypatch.setitem(EXPERIMENTS, NAME, made_up())
    experiment(quick=True)
    told = capfd.readouterr().err
    assert f"{OTHER}: Made up (4.2, figure 9); no such folder; put it into" in told
    assert f"{NAME}: Made up (4.2, figure 9); 0 of 2 cells" in told


@pytest.mark.usefixtures("_in_json")
def test_the_list_is_a_document_for_programs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    experiment()
    (told,) = json.loads(capfd.readouterr().out)["experiments"]
    assert (told["name"], told["cells"], told["finished"]) == (NAME, 6, 0)


@pytest.mark.parametrize("given", ["made-upp", "al", "MADE-UP", "\x1b[31m"])
def test_an_unknown_name_is_told_what_is_near_and_what_is_known(given: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"known: {NAME}") as caught:
        experiment(given)
    assert str(caught.value).isprintable()


def test_a_misspelled_name_is_told_the_near_match() -> None:
    with pytest.raises(InvalidSpecError, match=r"did you mean made-up\?"):
        experiment("made-upp")


def test_what_is_finished_is_not_run_again_and_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keep_all(tmp_path / "results")
    experiment(NAME)
    told = capfd.readouterr().err
    assert "0 of 6 cells to run" in told
    assert "error | on a slice: 0.20 % [0.11, 0.29] (6 seeds); paper 0.5 %" in told
    assert "goal: at most 0.50 %: met" in told
    assert (tmp_path / "results" / f"{NAME}.json").exists()
    assert (tmp_path / "results" / "report.html").exists()


@pytest.mark.parametrize("content", ["theirs", "ours"])
def test_what_was_measured_on_other_data_is_not_taken_for_finished(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(name: str, digest: str) -> None:
        given = replace(DATASETS["mnist"], ensure=lambda: None, digest=lambda: digest)
        monkeypatch.setitem(DATASETS, name, given)

    fill("set", content)
    monkeypatch.setitem(EXPERIMENTS, NAME, replace(made_up(), datasets=("set",)))
    for it in all_cells():
        there = finished(it).model_copy(update={"data": {"set": "theirs"}})
        keep(tmp_path / "results", it, there)
    if content == "theirs":
        experiment(NAME)
        return
    with pytest.raises(LocalError, match=r"other files of set \(SHA-256 theirs\)"):
        experiment(NAME)
    assert not (tmp_path / "results" / f"{NAME}.json").exists()


@pytest.mark.parametrize("made_by", ["", "https://zoo.example\n1234"])
def test_cells_of_somebody_elses_models_are_not_taken_for_ours(
    made_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_models(seed: int, scale: Scale) -> list[Part]:
        recipe = Recipe(spec=TrainSpec())
        return [(part, {"network": recipe}) for part, _ in parts(seed, scale)]

    ours = replace(made_up(), parts=of_models)
    monkeypatch.setitem(EXPERIMENTS, NAME, ours)
    for seed in range(3):
        for it in ours.cells(seed, "full"):
            there = finished(it).model_copy(update={"made_by": made_by})
            keep(tmp_path / "results", it, there)
    if not made_by:
        experiment(NAME)
        return
    with pytest.raises(LocalError, match=r"by https://zoo\.example 1234, and not here"):
        experiment(NAME)


def test_seeds_say_how_many(tmp_path: Path) -> None:
    keep_all(tmp_path / "out", seeds=5)
    experiment(NAME, out=tmp_path / "out", seeds=5)
    told = json.loads((tmp_path / "out" / f"{NAME}.json").read_text())
    assert told["seeds"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("verdict", ["not resolved", "not measured"])
def test_what_is_open_is_no_failure(
    verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, verdict)
    keep_all(tmp_path / "results")
    experiment(NAME)


def test_a_missed_goal_is_an_expectation_that_did_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, "missed")
    keep_all(tmp_path / "results")
    with pytest.raises(ExpectationError, match=r"goals missed: made-up: error \| on"):
        experiment(NAME)
    assert (tmp_path / "results" / "report.html").exists()


def test_a_smoke_version_writes_elsewhere_and_judges_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    add(monkeypatch, "missed")
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(made))
    for cell in cells(0, "quick"):
        keep(made, cell, finished(cell))
    experiment(NAME, quick=True)
    told = capfd.readouterr().err
    assert "its numbers mean nothing" in told
    assert f"results: {made}" in told
    assert (made / f"{NAME}-quick.json").exists()
    assert not (tmp_path / "results").exists()


def test_without_its_data_a_single_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_what_is_not_there(monkeypatch)
    with pytest.raises(LocalError, match="put it into a-place"):
        experiment(OTHER)


@pytest.mark.usefixtures("_in_json")
def test_without_its_data_one_of_all_is_skipped_and_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    need_what_is_not_there(monkeypatch)
    keep_all(tmp_path / "results")
    experiment("all")
    told = capfd.readouterr()
    skipped = f"skipped for want of data (1): {OTHER}: no such folder; put it into"
    assert skipped in told.err
    document = json.loads(told.out)
    assert document["experiments"] == [NAME]
    assert document["skipped"] == {OTHER: "no such folder; put it into a-place"}
    assert document["folder"] == "results"


def test_one_that_cannot_be_run_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(EXPERIMENTS, NAME)
    other = replace(made_up(), name=OTHER)
    monkeypatch.setitem(EXPERIMENTS, OTHER, other)
    monkeypatch.setitem(EXPERIMENTS, NAME, made_up())
    keep_all(tmp_path / "results")
    damaged = other.cells(0, "full")[0]
    keep(tmp_path / "results", damaged, finished(damaged))
    (path,) = (tmp_path / "results" / "cells" / OTHER).iterdir()
    path.write_text("damaged")
    with pytest.raises(LocalError, match=f"1 could not be run: {OTHER}"):
        experiment("all")
    assert (tmp_path / "results" / f"{NAME}.json").exists()
    with pytest.raises(LocalError, match="damaged"):
        experiment(OTHER)


def test_ctrl_c_is_code_130_says_what_is_kept_and_leaves_no_process(
    tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    command = [sys.executable, "-c", PROGRAM, "experiment", "mnist-baseline"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out"), "--processes", "2"],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        deadline = time.monotonic() + PATIENCE_SECONDS
        # a worker process, and the tracker of what the pools share
        while len(processes := psutil.Process(child.pid).children()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        try:
            _, told = child.communicate(timeout=PATIENCE_SECONDS)
        finally:
            child.kill()
    assert child.returncode == 130
    assert "finished cells are kept" in told
    assert "Traceback" not in told
    _, alive = psutil.wait_procs(processes, timeout=GONE_SECONDS)
    assert not alive


def test_a_real_worker_process_runs_a_real_cell(
    tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM, "experiment", "mnist-baseline"),
            *("--quick", "--out", str(tmp_path / "out")),
        ],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 1 cells to run" in done.stderr
    assert "1/1 mnist-baseline, data mnist, seed 0: " in done.stderr
    assert (tmp_path / "out" / "mnist-baseline-quick.json").exists()
