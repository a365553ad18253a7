"""The child of an attempt: bounded, killable, and unable to take anything with it."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import NoopSpec, Schedule, TrainSpec
from trainer.builds.build import weights_of
from trainer.data import LabelledImages
from trainer.jobs import attempt
from trainer.jobs.probing import NOBODY
from trainer.jobs.supervisor import AttemptError, Child, run_child, run_order


def nothing() -> None:
    """Tick without a wish."""


def test_a_noop_leaves_its_results_and_its_facts(tmp_path: Path) -> None:
    heard: list[JsonObject] = []
    spec = NoopSpec(note="hello")
    run_child("build", spec, folder=tmp_path, hear=heard.append, tick=nothing)
    results = tmp_path / attempt.RESULTS
    assert json.loads((results / "note.json").read_bytes())["note"] == "hello"
    assert (tmp_path / attempt.FACTS).exists()
    assert heard[0]["network"] in {"dropped", "kept"}


def test_what_is_trained_inside_has_the_bits_of_what_is_trained_outside(
    tmp_path: Path,
    digits: LabelledImages,
) -> None:
    assert len(digits)  # or there is no MNIST on this machine
    spec = TrainSpec(held_out=59_000, schedule=Schedule(epochs=1), checkpoints=False)
    child = Child(user=NOBODY if os.geteuid() == 0 else None)
    scratch = tmp_path / "scratch"
    for folder in (tmp_path / "outside", scratch):
        folder.mkdir()
    run_child("build", spec, folder=scratch, hear=_ignore, tick=nothing, child=child)
    inside = scratch / attempt.RESULTS / attempt.MODEL
    assert inside.read_bytes() == weights_of(spec, scratch=tmp_path / "outside")


def test_results_are_measured_wherever_their_folder_is_said_to_be(
    tmp_path: Path, digits: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(digits)  # or there is no MNIST on this machine
    monkeypatch.chdir(tmp_path)
    spec = TrainSpec(held_out=59_900, schedule=Schedule(epochs=1), checkpoints=False)
    for folder in ("built", "measured"):
        Path(folder).mkdir()
    run_child("build", spec, folder=Path("built"), hear=_ignore, tick=nothing)
    child = Child(results=Path("built") / attempt.RESULTS)
    run_child(
        "measure",
        spec,
        folder=Path("measured"),
        hear=_ignore,
        tick=nothing,
        child=child,
    )
    assert (tmp_path / "measured" / attempt.MEASURED).exists()


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    spec = NoopSpec(seconds=60, max_seconds=1)
    with pytest.raises(AttemptError, match="max_seconds = 1") as caught:
        run_child("build", spec, folder=tmp_path, hear=_ignore, tick=nothing)
    assert not caught.value.retry


def test_a_killed_child_is_worth_another_attempt(tmp_path: Path) -> None:
    def kill_children() -> None:
        for child in _attempts(tmp_path):
            child.send_signal(signal.SIGKILL)

    with pytest.raises(AttemptError, match="SIGKILL") as caught:
        run_child(
            "build",
            NoopSpec(seconds=60),
            folder=tmp_path,
            hear=_ignore,
            tick=kill_children,
        )
    assert caught.value.retry


def test_whatever_tick_raises_ends_the_child_and_all_it_started(
    tmp_path: Path,
) -> None:
    seen: list[psutil.Process] = []

    def stop() -> None:
        for child in _attempts(tmp_path):
            seen.extend([child, *child.children(recursive=True)])
        if seen:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(
            "build", NoopSpec(seconds=60), folder=tmp_path, hear=_ignore, tick=stop
        )
    assert not any(process.is_running() for process in seen)


def test_a_child_inherits_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_TOKEN", "a-token-that-no-child-may-see")
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", "nor-this-passphrase")
    environments: list[bytes] = []

    def look() -> None:
        environments.extend(
            Path(f"/proc/{child.pid}/environ").read_bytes()
            for child in _attempts(tmp_path)
        )

    spec = NoopSpec(seconds=0.6)
    run_child("build", spec, folder=tmp_path, hear=_ignore, tick=look)
    assert environments
    assert not any(b"ZOO_TOKEN" in seen for seen in environments)
    assert not any(b"PASSPHRASE" in seen for seen in environments)


def test_a_child_stays_on_the_gpu_that_its_worker_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "CUDA_VISIBLE_DEVICES": "3",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    seen: list[set[bytes]] = []

    def look() -> None:
        for child in _attempts(tmp_path):
            told = Path(f"/proc/{child.pid}/environ").read_bytes()
            seen.append(set(told.split(b"\0")))

    spec = NoopSpec(seconds=0.6)
    run_child("build", spec, folder=tmp_path, hear=_ignore, tick=look)
    assert seen
    assert {f"{name}={value}".encode() for name, value in given.items()} <= seen[-1]


def test_a_child_has_no_network_where_the_system_lets_it_drop_one(
    tmp_path: Path,
) -> None:
    heard: list[JsonObject] = []
    namespaces: set[Path] = set()

    def look() -> None:
        for child in _attempts(tmp_path):
            namespaces.add(Path(f"/proc/{child.pid}/ns/net").readlink())

    spec = NoopSpec(seconds=0.6)
    run_child("build", spec, folder=tmp_path, hear=heard.append, tick=look)
    assert namespaces
    moved = namespaces != {Path("/proc/self/ns/net").readlink()}
    assert moved == (heard[0]["network"] == "dropped")


def test_a_child_dies_with_its_supervisor(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from model_zoo.statements.jobs import NoopSpec\n"
        "from trainer.jobs.supervisor import run_child\n"
        "run_child('build', NoopSpec(seconds=60), folder=pathlib.Path(sys.argv[1]),"
        " hear=lambda told: print('started', flush=True), tick=lambda: None)\n"
    )
    supervisor = psutil.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=-1, text=True
    )
    assert supervisor.stdout.readline().strip() == "started"
    children = supervisor.children(recursive=True)
    assert children
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_a_refusal_is_told_in_the_words_of_the_error(tmp_path: Path) -> None:
    order = {
        "action": "build",
        "kind": "noop",
        "spec": {"seconds": -1},
        "max_seconds": 60,
    }
    with pytest.raises(AttemptError, match=r"InvalidSpecError: .*seconds") as caught:
        run_order(order, folder=tmp_path, hear=_ignore, tick=nothing, child=Child())
    assert not caught.value.retry


def test_a_training_that_diverged_is_told_with_what_to_change(
    digits: LabelledImages, tmp_path: Path
) -> None:
    wild = Schedule(peak_learning_rate=10, weight_decay=1, epochs=1, batch_size=20)
    spec = TrainSpec(held_out=60_000 - len(digits), schedule=wild)
    told = "InvalidSpecError: training diverged: .* in epoch 1; lower the learning rate"
    with pytest.raises(AttemptError, match=told) as caught:
        run_child("build", spec, folder=tmp_path, hear=_ignore, tick=nothing)
    assert not caught.value.retry


def test_a_child_without_its_supervisor_does_not_even_start(tmp_path: Path) -> None:
    order = {"action": "build", "kind": "noop", "spec": {}, "max_seconds": 5}
    (tmp_path / attempt.ORDER).write_text(json.dumps(order))
    child = psutil.Popen(
        [sys.executable, "-m", "trainer.jobs.attempt", str(tmp_path), "1"],
        stdout=-1,
        stderr=-1,
    )
    _, stderr = child.communicate(timeout=60)
    assert child.returncode != 0
    assert b"supervisor" in stderr
    assert not (tmp_path / attempt.RESULTS).exists()


def _attempts(folder: Path) -> list[psutil.Process]:
    """The guarding half of the child in ``folder``: other tests have children too."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            guard = process.parent()
            if process.cwd() == str(folder) and guard is not None:
                found.append(guard)
    return found


def _ignore(_: JsonObject) -> None:
    """Hear nothing."""
