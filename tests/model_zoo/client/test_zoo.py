"""The client against the service itself, on a real socket."""

import json
from pathlib import Path

import pytest
import torch

from model_zoo.client.worker import WorkClient
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    NotFoundError,
    NotPermittedError,
    PolicyNotMetError,
    ProvenanceMismatchError,
    ThresholdNotMetError,
    UnsafeFormatError,
)
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.intoto import invocation_of
from model_zoo.statements.jobs import NoopSpec
from model_zoo.statements.manifest import FileEntry
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import read_bundle
from model_zoo.statements.verification import verify_directory
from tests.model_zoo.releases import (
    ALICE,
    BUILDER,
    MALLORY,
    ORDER,
    POLICY,
    SPEC,
    provenance_of,
    weights,
    write_files,
)
from tests.model_zoo.servers import answering, open_zoo, respond


@pytest.fixture
def name(request: pytest.FixtureRequest) -> ReleaseName:
    """A release name of the test's own, since published is published."""
    return ReleaseName("alice", f"m{abs(hash(request.node.nodeid)):x}", "1")


@pytest.fixture
def published(zoo: ZooClient, name: ReleaseName, tmp_path: Path) -> ReleaseName:
    zoo.publish(name, write_files(tmp_path / "published"), key=ALICE)
    return name


def test_what_was_published_is_pulled_verified_and_loaded(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    moved: dict[str, int] = {}

    def progress(file: FileEntry, count: int) -> None:
        moved[file.name] = moved.get(file.name, 0) + count

    to = tmp_path / "pulled"
    release = zoo.pull(published, policy=POLICY, to=to, progress=progress)
    assert release.keyids == (ALICE.public.keyid,)
    assert (to / "model.safetensors").read_bytes() == weights()
    assert moved == {"config.json": 26, "model.safetensors": len(weights())}
    tensors = zoo.load_verified(str(published), policy=POLICY)
    assert torch.equal(tensors["w"], torch.arange(4.0))


def test_a_pulled_folder_verifies_without_the_service(
    published: ReleaseName, zoo_url: str, tmp_path: Path
) -> None:
    with ZooClient(zoo_url) as zoo:
        zoo.pull(published, policy=POLICY, to=tmp_path / "pulled")
    release = verify_directory(tmp_path / "pulled", name=published, policy=POLICY)
    assert release.statement.release == published


def test_pulling_into_the_same_folder_again_is_fine(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    for _ in range(2):
        zoo.pull(published, policy=POLICY, to=tmp_path / "pulled")


def test_pulling_over_something_else_is_refused_and_leaves_it(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    precious = tmp_path / "pulled" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(ConflictError, match="holds something else"):
        zoo.pull(published, policy=POLICY, to=precious.parent)
    assert [path.name for path in precious.parent.iterdir()] == ["thesis.txt"]


def test_the_wrong_key_refuses_and_writes_nothing(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    policy = Policy(publisher=Role("publisher", (MALLORY.public,)))
    with pytest.raises(ThresholdNotMetError, match="0 of the trusted keys"):
        zoo.pull(published, policy=policy, to=tmp_path / "to" / "pulled")
    assert not (tmp_path / "to").exists()


def test_an_empty_policy_refuses_what_is_properly_signed(
    zoo_url: str, published: ReleaseName, tmp_path: Path
) -> None:
    with ZooClient(zoo_url) as unpinned, pytest.raises(PolicyNotMetError):
        unpinned.pull(published, policy=Policy(), to=tmp_path / "p")


def test_publishing_the_same_again_is_fine_and_other_files_are_a_conflict(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    zoo.publish(published, tmp_path / "published", key=ALICE)
    (tmp_path / "published" / "config.json").write_text("{}")
    with pytest.raises(ConflictError):
        zoo.publish(published, tmp_path / "published", key=ALICE)


def test_another_key_may_not_publish_under_a_bound_name(
    zoo: ZooClient, name: ReleaseName, tmp_path: Path
) -> None:
    with pytest.raises(NotPermittedError):
        zoo.publish(name, write_files(tmp_path / "files"), key=MALLORY)
    with pytest.raises(NotFoundError):
        zoo.release(name)


def test_a_pickle_is_refused_by_content_and_the_error_comes_back_as_itself(
    zoo: ZooClient, name: ReleaseName, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "files")
    (folder / "model.safetensors").write_bytes(b"\x80\x04" + bytes(100))
    with pytest.raises(UnsafeFormatError, match="pickle"):
        zoo.publish(name, folder, key=ALICE)


def test_a_name_without_a_version_resolves_only_where_there_is_one(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    text = str(published.model_name)
    assert zoo.resolve(text) == published
    second = ReleaseName(published.publisher, published.model, "2")
    zoo.publish(second, tmp_path / "published", key=ALICE)
    with pytest.raises(InvalidSpecError, match="say which version"):
        zoo.resolve(text)


def test_models_are_listed_with_their_versions(
    zoo: ZooClient, published: ReleaseName
) -> None:
    listed = {model.name: model.versions for model in zoo.models()}
    assert listed[str(published.model_name)] == ("1",)
    model = zoo.model(ModelName.parse(str(published.model_name)))
    assert model.publisher_keyid == ALICE.public.keyid


def test_a_job_is_ordered_done_and_published(
    zoo_url: str, zoo: ZooClient, name: ReleaseName, tmp_path: Path
) -> None:
    job = zoo.submit(SPEC, trainer="lab")
    do_next_job(zoo_url, tmp_path / "made")
    assert zoo.wait(job.id).state == "succeeded"
    assert [event.type for event in zoo.events(job.id)][-1] == "succeeded"
    zoo.publish_job(job.id, as_=name, key=ALICE, builder=BUILDER.public, spec=SPEC)
    release = zoo.pull(name, policy=ORDER, to=tmp_path / "pulled")
    assert read_bundle(release.path)[1] is not None


def test_nobody_signs_what_was_not_ordered(
    zoo_url: str, zoo: ZooClient, name: ReleaseName, tmp_path: Path
) -> None:
    job = zoo.submit(SPEC, trainer="lab")
    do_next_job(zoo_url, tmp_path / "made")
    for builder, spec, refusal in (
        (BUILDER, NoopSpec(note="other"), ProvenanceMismatchError),
        (MALLORY, SPEC, ThresholdNotMetError),
    ):
        with pytest.raises(refusal):
            zoo.publish_job(
                job.id, as_=name, key=ALICE, builder=builder.public, spec=spec
            )
    with pytest.raises(NotFoundError):
        zoo.release(name)


def test_the_draft_of_another_job_is_refused_though_the_spec_is_the_same(
    zoo_url: str, zoo: ZooClient, tmp_path: Path
) -> None:
    first = zoo.submit(SPEC, trainer="lab")
    do_next_job(zoo_url, tmp_path / "first")
    draft = json.dumps(zoo._transport.get(f"/jobs/{first.id}/draft")).encode()
    with (
        answering(lambda request: respond(request, draft)) as mirror,
        ZooClient(mirror) as other,
        pytest.raises(ProvenanceMismatchError, match="another job"),
    ):
        other.fetch_draft(
            "0" * 32, builder=BUILDER.public, spec=SPEC, to=tmp_path / "to"
        )


def test_a_draft_is_fetched_all_at_once_or_not_at_all(
    zoo_url: str, zoo: ZooClient, tmp_path: Path
) -> None:
    job = zoo.submit(SPEC, trainer="lab")
    do_next_job(zoo_url, tmp_path / "made")
    to = tmp_path / "draft"
    with pytest.raises(ProvenanceMismatchError):
        zoo.fetch_draft(job.id, builder=BUILDER.public, spec=NoopSpec(), to=to)
    assert not to.exists()
    zoo.fetch_draft(job.id, builder=BUILDER.public, spec=SPEC, to=to)
    assert sorted(path.name for path in to.iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_a_queued_job_is_listed_and_cancelled(zoo: ZooClient) -> None:
    job = zoo.submit(SPEC, trainer="lab")
    assert job.id in {item.id for item in zoo.jobs(state="queued", trainer="lab")}
    assert zoo.cancel(job.id).state == "cancelled"
    assert zoo.job(job.id).is_final


def test_an_id_that_could_be_a_path_is_refused_before_it_is_sent(
    zoo: ZooClient,
) -> None:
    with pytest.raises(InvalidSpecError, match="32 lowercase"):
        zoo.job("../models")


def test_a_bound_name_does_not_change_its_key(zoo: ZooClient) -> None:
    zoo.bind_publisher("alice", ALICE.public)
    with pytest.raises(ConflictError):
        zoo.bind_publisher("alice", MALLORY.public)


def test_a_token_opens_a_zoo_that_asks_for_one(tmp_path: Path) -> None:
    token = "a-token-of-more-than-thirty-two-characters"  # noqa: S105  of one test
    with open_zoo(tmp_path / "zoo", token=token) as url:
        with ZooClient(url) as stranger, pytest.raises(NotPermittedError) as refused:
            stranger.models()
        with ZooClient(url, token=token) as friend:
            assert friend.models() == ()
    assert token not in str(refused.value)


def do_next_job(url: str, folder: Path) -> None:
    """Be a worker for one job: lease, make files, sign provenance, hand in."""
    from model_zoo.statements.folder import manifest_of  # noqa: PLC0415  used here only

    with WorkClient(url) as work:
        lease = work.lease("lab", worker="test", kinds=["noop"], lease_seconds=60)
        assert lease is not None
        assert not work.heartbeat(lease.attempt)
        work.report(lease.attempt, [{"type": "log", "data": {"line": "at work"}}])
        manifest = manifest_of(write_files(folder))
        work.complete(
            lease.attempt,
            upload=work.upload(folder),
            provenance=provenance_of(
                manifest,
                spec=NoopSpec(**lease.spec),
                invocation=invocation_of(lease.job, lease.attempt),
            ),
            claimed=None,
        )
