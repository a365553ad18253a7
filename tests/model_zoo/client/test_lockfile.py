import json
from dataclasses import replace
from pathlib import Path

import pytest

from model_zoo.client.lockfile import (
    Lock,
    LockedRelease,
    lock_releases,
    pull_locked,
    read_lock,
    write_lock,
)
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    LocalError,
    PolicyNotMetError,
    ThresholdNotMetError,
    VerificationError,
    YankedError,
)
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from tests.model_zoo.releases import ALICE, BOB, MALLORY, NAME, ROLE, write_files
from tests.model_zoo.servers import anchor_of, open_zoo

ENTRY = {
    "name": str(NAME),
    "files": [],
    "statement_sha256": "0" * 64,
    "publisher_keys": [ALICE.public.to_pem()],
    "threshold": 1,
}
"""A release as a lock file lists it."""


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
    lock = read_lock(path)
    [release] = lock.releases
    pulled = pull_locked(zoo, lock, release, to=tmp_path / "pulled")
    assert pulled.statement.release == published
    assert pulled.statement.manifest.files == release.files


def test_a_model_is_chosen_where_one_version_of_it_is_locked(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    first = lock_releases(zoo, [published], publisher=ROLE)
    model = str(published.model_name)
    assert first.choose(model) == first.releases
    with pytest.raises(PolicyNotMetError, match="alice/other is not in the lock file"):
        first.choose("alice/other")

    second = ReleaseName("alice", "locked", "2")
    zoo.publish(second, write_files(tmp_path / "second", count=12), key=ALICE)
    both = first.merged_with(lock_releases(zoo, [second], publisher=ROLE))
    with pytest.raises(InvalidSpecError, match=r"locked@1, alice/locked@2"):
        both.choose(model)
    assert [it.name for it in both.choose(str(second))] == [str(second)]


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
    lock = lock_releases(zoo, [published], publisher=ROLE)
    [good] = lock.releases
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
            pull_locked(zoo, lock, release, to=tmp_path / "pulled")
        assert not (tmp_path / "pulled").exists()


def test_the_same_name_signed_by_the_same_key_with_other_files_is_refused(
    zoo: ZooClient, tmp_path: Path
) -> None:
    """A key that was stolen signs well; a lock remembers what it signed before."""
    data_dir = tmp_path / "other"
    with (
        open_zoo(data_dir) as url,
        ZooClient(url, anchor=anchor_of(data_dir)) as other,
        ZooClient(url) as keyed,
    ):
        other.bind_publisher("alice", ALICE.public)
        folder = write_files(tmp_path / "files")
        other.publish(NAME, folder, key=ALICE)
        lock = lock_releases(keyed, [NAME], publisher=ROLE)
    (folder / "config.json").write_text('{"network": "another"}')
    zoo.publish(NAME, folder, key=ALICE)
    assert lock.root is None
    with pytest.raises(PolicyNotMetError, match="another"):
        pull_locked(zoo, lock, lock.releases[0], to=tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_a_name_outside_the_lock_is_refused(
    zoo: ZooClient, published: ReleaseName
) -> None:
    lock = lock_releases(zoo, [published], publisher=ROLE)
    assert lock.only(published).name == str(published)
    with pytest.raises(PolicyNotMetError, match="not in the lock file"):
        lock.only(ReleaseName("alice", "other", "1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"releases": []}',
        "\x80",
        json.dumps({"format": 3, "releases": [ENTRY]}),
        json.dumps({"format": 2, "releases": [{**ENTRY, "publisher_keys": []}]}),
        json.dumps({"format": 1, "root": "{}", "releases": [ENTRY]}),
        json.dumps({"format": 2, "releases": [ENTRY], "demand": "of later"}),
    ],
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
    lock = lock_releases(zoo, [published], publisher=ROLE)
    with pytest.raises(ConflictError):
        pull_locked(zoo, lock, lock.releases[0], to=tmp_path)


def test_a_lock_of_the_first_format_still_pulls(
    zoo_url: str, published: ReleaseName, tmp_path: Path
) -> None:
    with ZooClient(zoo_url) as keyed:
        made = lock_releases(keyed, [published], publisher=ROLE).to_object()
        del made["root"]
        (tmp_path / "zoo.lock").write_text(json.dumps({**made, "format": 1}))
        lock = read_lock(tmp_path / "zoo.lock")
        pulled = pull_locked(keyed, lock, lock.releases[0], to=tmp_path / "pulled")
    assert pulled.statement.release == published


def test_a_locked_root_is_walked_from_or_nothing_is_pulled(
    zoo: ZooClient, zoo_url: str, published: ReleaseName, tmp_path: Path
) -> None:
    """Where keys are locked as well, they alone are not enough."""
    for publisher in (None, ROLE):
        lock = lock_releases(zoo, [published], publisher=publisher)
        assert lock.root is not None
        with (
            ZooClient(zoo_url) as unpinned,
            pytest.raises(PolicyNotMetError, match="pins a root"),
        ):
            pull_locked(unpinned, lock, lock.releases[0], to=tmp_path / "pulled")
        assert not (tmp_path / "pulled").exists()
        pulled = pull_locked(zoo, lock, lock.releases[0], to=tmp_path / str(publisher))
        assert pulled.as_of is not None


def test_who_pulls_a_locked_release_learns_that_it_was_withdrawn(
    tmp_path: Path,
) -> None:
    """From the root that the lock holds, on a machine that has seen nothing before."""
    data_dir = tmp_path / "zoo"
    with (
        open_zoo(data_dir) as url,
        ZooClient(url, anchor=anchor_of(data_dir)) as zoo,
    ):
        zoo.bind_publisher("alice", ALICE.public)
        zoo.publish(NAME, write_files(tmp_path / "files"), key=ALICE)
        lock = lock_releases(zoo, [NAME])
        zoo.yank(NAME, reason="a backdoor", key=ALICE)
        anchor = lock.anchor()
        assert anchor is not None
        fresh = replace(anchor, cache=tmp_path / "cache")
        with (
            ZooClient(url, anchor=fresh) as ci,
            pytest.raises(YankedError, match="a backdoor"),
        ):
            pull_locked(ci, lock, lock.releases[0], to=tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_one_root_goes_for_a_whole_lock(zoo: ZooClient, published: ReleaseName) -> None:
    lock = lock_releases(zoo, [published])
    keyed = Lock(releases=lock_releases(zoo, [published], publisher=ROLE).releases)
    assert keyed.merged_with(lock).root == lock.merged_with(keyed).root == lock.root
    other = lock.model_copy(update={"root": "{}"})
    with pytest.raises(InvalidSpecError, match="another root"):
        lock.merged_with(other)


def test_a_root_that_is_none_is_refused(zoo: ZooClient, published: ReleaseName) -> None:
    lock = lock_releases(zoo, [published]).model_copy(update={"root": "{}"})
    with pytest.raises(VerificationError, match=r"zoo\.lock: expected a trust root"):
        lock.anchor()


def test_keys_of_ones_own_beside_a_lock_are_refused_and_not_dropped(
    zoo: ZooClient, published: ReleaseName, tmp_path: Path
) -> None:
    lock = lock_releases(zoo, [published])
    for policy in (Policy(publisher=ROLE), Policy(statement_sha256="0" * 64)):
        with pytest.raises(InvalidSpecError, match="lock file to say"):
            pull_locked(
                zoo, lock, lock.releases[0], to=tmp_path / "pulled", policy=policy
            )


@pytest.mark.parametrize(
    "releases",
    [
        [{**ENTRY, "publisher_keys": [], "threshold": 2}],
        [ENTRY, {**ENTRY, "statement_sha256": "1" * 64}],
    ],
    ids=["a threshold of no keys", "one name twice, as a merge in git leaves it"],
)
def test_what_would_count_for_nothing_in_a_lock_is_refused(
    releases: list[object], tmp_path: Path
) -> None:
    path = tmp_path / "zoo.lock"
    path.write_text(json.dumps({"root": "{}", "releases": releases}))
    with pytest.raises(InvalidSpecError, match="not a lock file"):
        read_lock(path)


def test_locked_keys_are_not_dropped_by_locking_again_without_them(
    zoo: ZooClient, published: ReleaseName
) -> None:
    keyed = lock_releases(zoo, [published], publisher=ROLE)
    with pytest.raises(InvalidSpecError, match="give them again with --key"):
        keyed.merged_with(lock_releases(zoo, [published]))
    assert keyed.merged_with(keyed) == keyed
