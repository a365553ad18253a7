from pathlib import Path

import pytest

from model_zoo.client import ZooClient
from model_zoo.envelopes import Role
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    LocalError,
    PolicyNotMetError,
    ThresholdNotMetError,
)
from model_zoo.locks import (
    Lock,
    LockedRelease,
    lock_releases,
    pull_locked,
    read_lock,
    write_lock,
)
from model_zoo.names import ReleaseName
from tests.model_zoo.releases import ALICE, BOB, MALLORY, NAME, ROLE, write_files
from tests.model_zoo.servers import anchor_of, open_zoo


@pytest.fixture
def published(zoo: ZooClient, tmp_path: Path) -> ReleaseName:
    name = ReleaseName("alice", "locked", "1")
    zoo.publish(name, write_files(tmp_path / "published"), key=ALICE)
    return name


def test_a_lock_written_and_read_pulls_exactly_what_was_locked(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    path = tmp_path / "zoo.lock"
    write_lock(lock_releases(zoo, [published, published], publisher=ROLE), path)
    [release] = read_lock(path).releases
    pulled = pull_locked(zoo, release, to=tmp_path / "pulled")
    assert pulled.statement.release == published
    assert pulled.statement.manifest.files == release.files


def test_nothing_is_locked_that_the_pinned_key_did_not_sign(
    zoo: ZooClient, published: ReleaseName
) -> None:
    with pytest.raises(ThresholdNotMetError):
        lock_releases(zoo, [published], publisher=Role("publisher", (MALLORY.public,)))
    with pytest.raises(InvalidSpecError, match="1 to"):
        lock_releases(zoo, [], publisher=ROLE)


def test_any_difference_to_the_lock_is_refused_and_nothing_is_written(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    [good] = lock_releases(zoo, [published], publisher=ROLE).releases
    other_file = good.files[0].model_copy(update={"sha256": "0" * 64})
    bob = (BOB.public.to_pem(),)
    for changed, refusal in (
        ({"statement_sha256": "0" * 64}, PolicyNotMetError),
        ({"files": (other_file, *good.files[1:])}, PolicyNotMetError),
        ({"files": good.files[:1]}, PolicyNotMetError),
        ({"publisher_keys": bob}, ThresholdNotMetError),
        (
            {"publisher_keys": good.publisher_keys + bob, "threshold": 2},
            ThresholdNotMetError,
        ),
        ({"publisher_keys": good.publisher_keys * 2}, InvalidSpecError),
        ({"threshold": 2}, InvalidSpecError),
    ):
        release = LockedRelease.model_validate(good.model_dump() | changed)
        with pytest.raises(refusal):
            pull_locked(zoo, release, to=tmp_path / "pulled")
        assert not (tmp_path / "pulled").exists()


def test_the_same_name_signed_by_the_same_key_with_other_files_is_refused(
    zoo: ZooClient, tmp_path: Path
) -> None:
    """A key that was stolen signs well; a lock remembers what it signed before."""
    data_dir = tmp_path / "other"
    with (
        open_zoo(data_dir) as url,
        ZooClient(url, anchor=anchor_of(data_dir)) as other,
    ):
        other.bind_publisher("alice", ALICE.public)
        folder = write_files(tmp_path / "files")
        other.publish(NAME, folder, key=ALICE)
        [release] = lock_releases(other, [NAME], publisher=ROLE).releases
    (folder / "config.json").write_text('{"network": "another"}')
    zoo.publish(NAME, folder, key=ALICE)
    with pytest.raises(PolicyNotMetError, match="another"):
        pull_locked(zoo, release, to=tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_a_name_outside_the_lock_is_refused(
    zoo: ZooClient, published: ReleaseName
) -> None:
    lock = lock_releases(zoo, [published], publisher=ROLE)
    assert lock.only(published).name == str(published)
    with pytest.raises(PolicyNotMetError, match="not in the lock file"):
        lock.only(ReleaseName("alice", "other", "1"))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2, "releases": []}', '{"releases": []}', "\x80"]
)
def test_what_is_no_lock_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    path.write_text(text)
    with pytest.raises(InvalidSpecError, match=r"zoo\.lock: not a lock file"):
        read_lock(path)


def test_files_that_cannot_be_reached_are_local_errors(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        read_lock(tmp_path / "zoo.lock")
    lock: Lock = lock_releases(zoo, [published], publisher=ROLE)
    with pytest.raises(LocalError, match="cannot write"):
        write_lock(lock, tmp_path / "nowhere" / "zoo.lock")


def test_an_occupied_folder_is_a_conflict(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    [release] = lock_releases(zoo, [published], publisher=ROLE).releases
    with pytest.raises(ConflictError):
        pull_locked(zoo, release, to=tmp_path)
