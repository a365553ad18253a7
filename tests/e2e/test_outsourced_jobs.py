"""Jobs through the real service and the real worker, which are killed on the way."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from model_zoo.statements.jobs import NoopSpec
from tests.e2e.scene import Scene, opened

PATIENCE_SECONDS = 120
"""For a process to start or to end on a busy machine."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened(tmp_path_factory.mktemp("zoo")) as scene:
        yield scene


def test_a_job_ends_in_a_draft_that_its_user_can_verify(
    scene: Scene, tmp_path: Path
) -> None:
    spec = NoopSpec(note="as ordered")
    with scene.worker():
        job = scene.client.wait(scene.submit(spec))
    assert job.state == "succeeded"
    scene.client.fetch_draft(
        job.id, builder=scene.builder.public, spec=spec, to=tmp_path / "draft"
    )
    assert b"as ordered" in (tmp_path / "draft" / "note.json").read_bytes()


def test_a_killed_training_process_costs_an_attempt_and_not_the_job(
    scene: Scene,
) -> None:
    job = scene.submit(NoopSpec(seconds=1.5))
    with scene.worker() as worker:
        scene.wait_until(job, lambda it: it.state == "running")
        children = _wait_for_children(worker)
        children[-1].send_signal(signal.SIGKILL)
        done = scene.client.wait(job)
    assert (done.state, done.attempts) == ("succeeded", 2)


def test_a_killed_worker_loses_no_job_and_makes_no_second_draft(scene: Scene) -> None:
    job = scene.submit(NoopSpec(seconds=1.0))
    with scene.worker("first") as worker:
        scene.wait_until(job, lambda it: it.state == "running")
        children = _wait_for_children(worker)
        worker.kill()
        gone, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert gone
    assert not alive
    with scene.worker("second"):
        done = scene.client.wait(job)
    assert (done.state, done.attempts) == ("succeeded", 2)
    ended = [event for event in scene.client.events(job) if event.type == "succeeded"]
    assert len(ended) == 1


def test_a_frozen_worker_that_wakes_up_too_late_delivers_nothing(scene: Scene) -> None:
    job = scene.submit(NoopSpec(seconds=1.0))
    with scene.worker("frozen") as frozen:
        scene.wait_until(job, lambda it: it.state == "running")
        frozen.suspend()
        with scene.worker("awake"):
            done = scene.client.wait(job)
            frozen.resume()
            other = scene.client.wait(scene.submit(NoopSpec()))
    assert (done.state, done.attempts) == ("succeeded", 2)
    assert other.state == "succeeded"
    assert scene.client.job(job) == done


def test_a_cancelled_job_ends_with_everything_it_started(scene: Scene) -> None:
    job = scene.submit(NoopSpec(seconds=60))
    with scene.worker() as worker:
        scene.wait_until(job, lambda it: it.state == "running")
        children = _wait_for_children(worker)
        scene.client.cancel(job)
        done = scene.client.wait(job)
        _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert done.state == "cancelled"
    assert alive == []


def test_a_worker_told_to_end_takes_its_child_with_it(scene: Scene) -> None:
    job = scene.submit(NoopSpec(seconds=60))
    with scene.worker() as worker:
        scene.wait_until(job, lambda it: it.state == "running")
        children = _wait_for_children(worker)
        os.kill(worker.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs([worker, *children], timeout=PATIENCE_SECONDS)
    scene.client.cancel(job)
    assert alive == []


def test_what_a_killed_worker_left_behind_is_gone_when_it_comes_back(
    scene: Scene,
) -> None:
    job = scene.submit(NoopSpec(seconds=60))
    with scene.worker("messy") as worker:
        scene.wait_until(job, lambda it: it.state == "running")
        _wait_for_children(worker)
        worker.kill()
        worker.wait()
    scene.client.cancel(job)
    left = scene.folder / "messy"
    assert any(path.is_dir() for path in left.iterdir())
    with scene.worker("messy"):
        scene.client.wait(scene.submit(NoopSpec()))
    assert not any(path.is_dir() for path in left.iterdir())


def _wait_for_children(worker: psutil.Process) -> list[psutil.Process]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        started = worker.children(recursive=True)
        # the worker's own child is the fork server, which outlives a job
        if children := [it for it in started if it.ppid() != worker.pid]:
            return children
        time.sleep(0.02)
    pytest.fail("the worker started no child")
