"""A worker's calls against the service itself."""

import hashlib
from pathlib import Path

import pytest

from model_zoo.client.worker import WorkClient
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import ConflictError, InvalidSpecError, NotFoundError
from model_zoo.names import ReleaseName
from tests.model_zoo.releases import ALICE, BUILDER, MALLORY, SPEC, weights, write_files


@pytest.fixture
def work(zoo_url: str) -> WorkClient:
    return WorkClient(zoo_url)


def test_there_is_nothing_to_do_of_another_kind(
    work: WorkClient, zoo: ZooClient
) -> None:
    job = zoo.submit(SPEC, trainer="lab")
    lease = work.lease("lab", worker="test", kinds=["train"], lease_seconds=30)
    assert lease is None
    zoo.cancel(job.id)


def test_a_failed_attempt_is_tried_again_only_if_that_helps(
    work: WorkClient, zoo: ZooClient
) -> None:
    job = zoo.submit(SPEC, trainer="lab")
    for retry, state in ((True, "queued"), (False, "failed")):
        lease = work.lease("lab", worker="test", kinds=["noop"], lease_seconds=30)
        assert lease is not None
        assert lease.job == job.id
        assert work.fail(lease.attempt, error="no luck", retry=retry).state == state
        with pytest.raises(ConflictError):
            work.heartbeat(lease.attempt)
    assert zoo.job(job.id).error == "no luck"


def test_a_worker_is_told_to_stop_and_says_that_it_did(
    work: WorkClient, zoo: ZooClient
) -> None:
    job = zoo.submit(SPEC, trainer="lab")
    lease = work.lease("lab", worker="test", kinds=["noop"], lease_seconds=30)
    assert lease is not None
    zoo.cancel(job.id)
    assert work.heartbeat(lease.attempt)
    assert work.cancelled(lease.attempt).state == "cancelled"


def test_a_blob_is_fetched_by_its_digest(
    work: WorkClient, zoo: ZooClient, tmp_path: Path
) -> None:
    name = ReleaseName("alice", "parent", "1")
    zoo.publish(name, write_files(tmp_path / "files"), key=ALICE)
    work.fetch_blob(hashlib.sha256(weights()).hexdigest(), tmp_path / "parent")
    assert (tmp_path / "parent").read_bytes() == weights()
    with pytest.raises(NotFoundError):
        work.fetch_blob("0" * 64, tmp_path / "none")
    with pytest.raises(InvalidSpecError, match="64 lowercase"):
        work.fetch_blob("../x", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_trainer_is_bound_once(work: WorkClient) -> None:
    assert work.bind_trainer("lab", BUILDER.public).keyid == BUILDER.public.keyid
    with pytest.raises(ConflictError):
        work.bind_trainer("lab", MALLORY.public)
