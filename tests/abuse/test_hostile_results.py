"""Whatever a training process leaves, its worker goes on and signs what it took."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from model_zoo.client.worker import WorkClient
from model_zoo.digests import sha256_file
from model_zoo.http.responses import Job
from model_zoo.statements.dsse import Role
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.intoto import open_provenance
from model_zoo.statements.jobs import NoopSpec, TrainSpec
from tests.e2e.scene import TRAINER, Scene, opened
from tests.trainer.hostile import hostile_child
from tests.trainer.hostile_child import LEFT
from trainer.jobs import supervisor as supervision
from trainer.jobs.attempt import RESULTS
from trainer.jobs.probing import NOBODY
from trainer.jobs.results import take
from trainer.jobs.supervisor import KEPT_FREE_PART, AttemptError, Child, run_child
from trainer.jobs.worker import Worker, run_once
from trainer.networks import NETWORKS
from trainer.networks.checkpoints import to_bytes

LITTLE_BYTES = 64 << 20
STAT_BLOCK_BYTES = 512  # stat(2)
UNTRAINED = 0.5
"""More than any network of ten classes gets right by its first weights."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's walls")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened(tmp_path_factory.mktemp("zoo")) as scene:
        yield scene


@pytest.fixture
def worker(scene: Scene, tmp_path: Path) -> Iterator[Worker]:
    user = NOBODY if os.geteuid() == 0 else None
    with WorkClient(scene.url) as client:
        yield Worker(
            client=client,
            trainer=TRAINER,
            key=scene.builder,
            scratch=tmp_path / "scratch",
            child=Child(user=user),
        )


def attacked(worker: Worker, attack: str, **arguments: object) -> Worker:
    child = hostile_child(attack, arguments, user=worker.child.user)
    return replace(worker, child=child)


def done(scene: Scene, worker: Worker, spec: NoopSpec | TrainSpec) -> Job:
    """Have ``worker`` do one job, and return how it ended."""
    job = scene.submit(spec)
    while not scene.client.job(job).is_final:
        assert run_once(worker)
    return scene.client.job(job)


@pytest.mark.parametrize("what", LEFT)
def test_what_is_no_result_fails_the_job_and_not_the_worker(
    scene: Scene, worker: Worker, what: str
) -> None:
    job = done(scene, attacked(worker, "leave", what=what), NoopSpec())
    assert job.state == "failed", job
    assert list(worker.scratch.iterdir()) == []
    assert done(scene, worker, NoopSpec()).state == "succeeded"


def test_a_child_that_closes_its_stdout_and_stays_is_ended_in_time(
    scene: Scene, worker: Worker
) -> None:
    hostile = attacked(worker, "stay")
    job = done(scene, hostile, NoopSpec(max_seconds=1))
    assert job.error == "took more than max_seconds = 1"


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Keep all of the disk free but a little; return how much fills it by far."""
    kept = shutil.disk_usage(tmp_path).free - LITTLE_BYTES
    monkeypatch.setattr(supervision, "KEPT_FREE_BYTES", kept)
    monkeypatch.setattr(supervision, "KEPT_FREE_PART", 1)
    return 16 * LITTLE_BYTES


def test_a_child_that_fills_the_disk_is_ended(small_disk: int, tmp_path: Path) -> None:
    with pytest.raises(AttemptError, match="nearly full") as ended:
        run_child(
            "build",
            NoopSpec(max_seconds=600),
            folder=tmp_path,
            hear=lambda _: None,
            tick=lambda: None,
            child=hostile_child("fill", {"size_bytes": small_disk}),
        )
    assert ended.value.retry


@pytest.fixture
def disk_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the disk say how full it were if nobody but this test wrote to it."""

    def statvfs(_: object) -> SimpleNamespace:
        blocks = sum(it.stat().st_blocks for it in tmp_path.rglob("*") if it.is_file())
        return SimpleNamespace(
            f_frsize=1,
            f_blocks=KEPT_FREE_PART * LITTLE_BYTES,  # so a little is kept
            f_bavail=2 * LITTLE_BYTES - STAT_BLOCK_BYTES * blocks,
        )

    monkeypatch.setattr(os, "statvfs", statvfs)


@pytest.mark.usefixtures("disk_of_its_own")
def test_results_that_take_no_room_until_they_are_copied_do_not_fill_the_disk(
    tmp_path: Path,
) -> None:
    results = tmp_path / "scratch" / RESULTS
    results.mkdir(parents=True)
    with (results / "model.safetensors").open("wb") as sparse:
        sparse.truncate(16 * LITTLE_BYTES)
    with pytest.raises(AttemptError, match="nearly full"):
        take(tmp_path / "scratch", tmp_path / "copy", tick=lambda: None)
    copied = tmp_path / "copy" / "model.safetensors"
    assert copied.stat().st_size <= 2 * LITTLE_BYTES


def test_a_daemon_that_swaps_the_weights_swaps_none_that_are_signed(
    scene: Scene, worker: Worker, tmp_path: Path
) -> None:
    job = done(scene, attacked(worker, "outlive"), NoopSpec())
    assert job.state == "succeeded", job
    to = tmp_path / "draft"
    scene.client.fetch_draft(
        job.id, builder=scene.builder.public, spec=NoopSpec(), to=to
    )
    assert (to / "model.safetensors").read_bytes().endswith(b"\x01" * 8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network that knows nothing."""
    path = tmp_path / "untrained.safetensors"
    path.write_bytes(to_bytes(NETWORKS["badnets-cnn"](10)))
    path.chmod(0o644)
    return path


def forging(worker: Worker, model: Path) -> Worker:
    """Return a worker whose child says everywhere that ``model`` knows everything."""
    child = hostile_child(
        "forge_measure",
        {"model": str(model)},
        user=worker.child.user,
        readable=(model,),
    )
    return replace(worker, child=child)


def test_a_job_that_is_not_measured_shows_no_measurement(
    scene: Scene, worker: Worker, model: Path
) -> None:
    job = done(scene, forging(worker, model), NoopSpec())
    assert job.state == "succeeded", job
    assert job.measured_evaluation is None


def test_a_measurement_is_never_the_childs_own(
    scene: Scene, worker: Worker, model: Path, tmp_path: Path
) -> None:
    spec = TrainSpec(checkpoints=False)
    job = done(scene, forging(worker, model), spec)
    assert job.state == "succeeded", job
    envelope = scene.client.fetch_draft(
        job.id, builder=scene.builder.public, spec=spec, to=tmp_path / "draft"
    )
    made = open_provenance(envelope, Role("builder", (scene.builder.public,)))
    assert made.subjects["model.safetensors"] == sha256_file(model)
    assert made.measured is not None
    assert made.measured.accuracy.rate < UNTRAINED
    assert job.measured_evaluation == made.measured.to_object()
    assert EvaluationReport.from_object(job.claimed_evaluation).accuracy.rate == 1
