"""A backup that is older than what clients saw: refused until the operator knows."""

import shutil
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from model_zoo.client.lost_versions import lost_versions
from model_zoo.client.operate import submit_roles
from model_zoo.client.publish import Signer, renew
from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    ConflictError,
    LocalError,
    RollbackError,
    TransportError,
    YankedError,
)
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.statements.policy import Policy
from model_zoo.tuf.publisher_roles import renewed, sign_roles
from model_zoo.tuf.updater import Anchor
from service.storage.high_water_mark import SERVED_FILE
from tests.model_zoo.releases import ALICE, BOB, MALLORY, POLICY, write_files
from tests.model_zoo.servers import NO_AUTHORITY, anchor_of, open_zoo

FIRST, SECOND, THIRD = (f"alice/digits@{version}" for version in (1, 2, 3))


class Disk:
    """A zoo's data folder, its keys beside it, and backups of the first alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.backup = folder / "zoo", folder / "backup"

    @property
    def mark(self) -> Path:
        return self.data / "trust" / SERVED_FILE

    def anchor(self, user: str) -> Anchor:
        return anchor_of(self.data, cache=self.folder / user)

    def back_up(self) -> None:
        shutil.copytree(self.data, self.backup)

    def restore(self) -> None:
        """Put everything back as it was, but for what lies beside the keys."""
        shutil.rmtree(self.backup / "trust")
        shutil.move(self.data / "trust", self.backup / "trust")
        shutil.rmtree(self.data)
        shutil.move(self.backup, self.data)

    def served(self) -> int:
        """Return the version of the newest timestamp that was served."""
        return int(refusal(self).rpartition("--accept-loss ")[2])


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a zoo with one release, backed up, that then served a second."""
    folder = tmp_path_factory.mktemp("before")
    made = Disk(folder)
    for number, name in enumerate(("first", "second", "third")):
        write_files(folder / name)
        (folder / name / "notes.json").write_text(f'{{"number": {number}}}')
    with (
        open_zoo(made.data) as url,
        ZooClient(url, anchor=made.anchor("alice")) as alice,
    ):
        alice.bind_publisher("alice", ALICE.public)
        alice.publish(FIRST, folder / "first", key=ALICE)
    made.back_up()
    with open_zoo(made.data) as url:
        with ZooClient(url, anchor=made.anchor("alice")) as alice:
            alice.publish(SECOND, folder / "second", key=ALICE)
        with ZooClient(url, anchor=made.anchor("bob")) as bob:
            bob.pull(SECOND, policy=Policy(), to=folder / "pulled")
    return folder


@pytest.fixture
def disk(before: Path, tmp_path: Path) -> Disk:
    """A copy of it."""
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    return Disk(tmp_path)


def refusal(disk: Disk) -> str:
    """Return what a start says that does not serve."""
    with pytest.raises(LocalError) as refused, open_zoo(disk.data):
        pass
    return str(refused.value)


def publish(disk: Disk, url: str, release: str, files: Path, *, user: str) -> None:
    with ZooClient(url, anchor=disk.anchor(user)) as zoo:
        zoo.publish(release, files, key=ALICE)


def test_an_older_state_than_was_served_is_not_served(disk: Disk) -> None:
    disk.restore()

    said = refusal(disk)

    assert "older" in said
    assert SECOND in said
    assert f"--accept-loss {disk.served()}" in said


def test_accepting_one_loss_accepts_no_other(disk: Disk) -> None:
    disk.restore()
    with (
        pytest.raises(LocalError, match="older"),
        open_zoo(disk.data, accept_loss=disk.served() - 1),
    ):
        pass


def test_a_data_folder_that_is_gone_is_older_too(disk: Disk) -> None:
    shutil.move(disk.data / "trust", disk.folder / "trust")
    shutil.rmtree(disk.data)
    disk.data.mkdir()
    shutil.move(disk.folder / "trust", disk.data / "trust")

    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        with ZooClient(url, anchor=disk.anchor("carol")) as zoo:
            zoo.bind_publisher("alice", ALICE.public)
            zoo.publish(FIRST, disk.folder / "first", key=ALICE)
            zoo.publish(THIRD, disk.folder / "third", key=ALICE)
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(THIRD, policy=Policy(), to=disk.folder / "after")


def test_what_is_as_new_as_what_was_served_starts(disk: Disk) -> None:
    shutil.rmtree(disk.backup)
    disk.back_up()
    disk.restore()
    with open_zoo(disk.data):
        pass


def test_after_an_accepted_loss_no_client_is_locked_out(disk: Disk) -> None:
    disk.restore()
    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        # Alice's tools begin anew: what she signed last is gone.
        publish(disk, url, THIRD, disk.folder / "third", user="alice anew")
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(
                THIRD, policy=Policy(), to=disk.folder / "after"
            )  # neither a rollback nor a split view, though he saw what is lost
    with open_zoo(disk.data) as url, ZooClient(url) as zoo:
        assert zoo.release(FIRST).to_object()["name"] == FIRST


def test_until_the_publisher_signs_again_who_saw_the_lost_version_refuses(
    disk: Disk,
) -> None:
    disk.restore()
    with (
        open_zoo(disk.data, accept_loss=disk.served()) as url,
        ZooClient(url, anchor=disk.anchor("bob")) as bob,
        pytest.raises(RollbackError),
    ):
        bob.pull(FIRST, policy=Policy(), to=disk.folder / "after")


def test_nobody_puts_other_content_under_a_lost_release(disk: Disk) -> None:
    disk.restore()
    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        with pytest.raises(ConflictError, match="other content"):
            publish(disk, url, SECOND, disk.folder / "third", user="alice anew")
        publish(disk, url, SECOND, disk.folder / "second", user="alice anew")
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(SECOND, policy=Policy(), to=disk.folder / "after")


def test_nobody_puts_another_role_under_a_lost_version(disk: Disk) -> None:
    disk.restore()
    anchor = disk.anchor("alice anew")
    with (
        open_zoo(disk.data, accept_loss=disk.served()) as url,
        Transport(Server(url)) as transport,
    ):
        lost = lost_versions(transport)["alice"]
        with anchor.refreshed(transport.server) as zoo:
            following = renewed(zoo.publisher("alice"), now=anchor.now())
        assert following["alice"].signed.version == lost
        with pytest.raises(ConflictError, match=f"expected version {lost + 1}"):
            submit_roles(transport, sign_roles(following, ALICE))


def test_a_lost_withdrawal_is_still_refused(disk: Disk) -> None:
    with (
        open_zoo(disk.data) as url,
        ZooClient(url, anchor=disk.anchor("alice")) as alice,
    ):
        alice.yank(FIRST, reason="a drill", key=ALICE)
    disk.restore()
    assert f"the withdrawal of {FIRST}" in refusal(disk)
    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        with ZooClient(url) as carol, pytest.raises(YankedError):
            carol.pull(FIRST, policy=POLICY, to=disk.folder / "carols")
        with ZooClient(url, anchor=disk.anchor("alice anew")) as alice:
            alice.yank(FIRST, reason="a drill", key=ALICE)


def test_another_history_cannot_be_accepted(disk: Disk) -> None:
    disk.restore()
    mark = disk.mark.read_bytes()
    disk.mark.unlink()  # as if two services had run with these keys
    with open_zoo(disk.data) as url:
        for release in (SECOND, THIRD):
            publish(disk, url, release, disk.folder / "third", user="alice anew")
    disk.mark.write_bytes(mark)

    assert "another history" in refusal(disk)


def test_a_mark_that_broke_off_while_it_was_written_is_the_one_before(
    disk: Disk,
) -> None:
    whole = disk.mark.read_bytes()
    disk.mark.write_bytes(whole + b'{"kind":"metadata","na')
    with open_zoo(disk.data) as url:
        publish(disk, url, THIRD, disk.folder / "third", user="alice")
    assert disk.mark.read_bytes().startswith(whole)
    with open_zoo(disk.data):
        pass


def test_a_publish_adds_as_little_to_the_mark_as_the_one_before(disk: Disk) -> None:
    sizes = [disk.mark.stat().st_size]
    with open_zoo(disk.data) as url:
        for version in range(10, 14):
            release = f"alice/digits@{version}"
            publish(disk, url, release, disk.folder / "third", user="alice")
            sizes.append(disk.mark.stat().st_size)
    grown = [after - before for before, after in pairwise(sizes)]
    assert max(grown[1:]) < 2000


def test_what_cannot_be_marked_is_not_served(disk: Disk) -> None:
    with open_zoo(disk.data) as url:
        disk.mark.unlink()
        disk.mark.mkdir()  # a file cannot be written there, whoever asks
        with pytest.raises(TransportError):
            publish(disk, url, THIRD, disk.folder / "third", user="alice")
        with (
            ZooClient(url, anchor=disk.anchor("bob")) as bob,
            pytest.raises(TransportError),
        ):
            bob.pull(SECOND, policy=Policy(), to=disk.folder / "after")
        disk.mark.rmdir()
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(THIRD, policy=Policy(), to=disk.folder / "after")


def fetched(url: str, sha256: str) -> int:
    return httpx.get(f"{url}/api/v1/blobs/{sha256}", verify=NO_AUTHORITY).status_code


def test_a_mark_taken_away_from_a_running_zoo_is_written_whole_again(
    disk: Disk,
) -> None:
    whole = disk.mark.read_bytes()
    with open_zoo(disk.data) as url:
        disk.mark.unlink()
        publish(disk, url, THIRD, disk.folder / "third", user="alice")
    entries = [line for line in whole.splitlines() if line.startswith(b'{"kind"')]
    assert disk.mark.read_bytes().splitlines()[: len(entries)] == entries
    disk.restore()
    assert THIRD in refusal(disk)
    with (
        open_zoo(disk.data, accept_loss=disk.served()) as url,
        ZooClient(url, anchor=disk.anchor("bob")) as bob,
    ):
        publish(disk, url, THIRD, disk.folder / "third", user="alice anew")
        bob.pull(THIRD, policy=Policy(), to=disk.folder / "after")


def test_another_history_is_not_accepted_for_its_longer_log(disk: Disk) -> None:
    """A zoo that only went on signing, against one that published a lot."""
    for days in range(1, 9):
        with open_zoo(disk.data, clock=lambda: system_clock() + timedelta(days)):  # noqa: B023
            pass
    mark = disk.mark.read_bytes()
    disk.restore()
    disk.mark.unlink()
    with open_zoo(disk.data) as url:
        for release in (SECOND, THIRD):
            publish(disk, url, release, disk.folder / "third", user="alice anew")
    disk.mark.write_bytes(mark)

    assert "another history" in refusal(disk)


@pytest.mark.parametrize("entry", [b"", b"garbage\n", b"\xff\n", b"[]\n", b"{}\n"])
def test_a_mark_whose_entries_were_edited_is_told_to_be_damaged(
    disk: Disk, entry: bytes
) -> None:
    lines = disk.mark.read_bytes().splitlines(keepends=True)
    newest = max(i for i, line in enumerate(lines) if line.startswith(b'{"kind"'))
    lines[newest] = entry
    disk.restore()
    disk.mark.write_bytes(b"".join(lines))

    assert "is damaged" in refusal(disk)


def test_an_older_mark_fits_a_state_after_an_accepted_loss(disk: Disk) -> None:
    """Though the checkpoint of its size is among what was lost."""
    mark = disk.mark.read_bytes()
    with open_zoo(disk.data) as url:
        publish(disk, url, THIRD, disk.folder / "third", user="alice")
    disk.restore()
    with open_zoo(disk.data, accept_loss=disk.served()):
        pass
    disk.mark.write_bytes(mark)
    with open_zoo(disk.data):
        pass


def test_the_same_backup_twice(disk: Disk) -> None:
    again = disk.folder / "again"
    shutil.copytree(disk.backup, again)
    disk.restore()
    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        publish(disk, url, THIRD, disk.folder / "third", user="alice anew")
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(THIRD, policy=Policy(), to=disk.folder / "after")
    shutil.move(again, disk.backup)
    disk.restore()
    assert f"{SECOND}, {THIRD}" in refusal(disk)
    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        with pytest.raises(ConflictError, match="other content"):
            publish(disk, url, THIRD, disk.folder / "second", user="alice again")
        publish(disk, url, SECOND, disk.folder / "second", user="alice again")
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(SECOND, policy=Policy(), to=disk.folder / "after that")


def test_a_publisher_whose_bins_were_lost_has_them_again(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever saw them refuses the zoo for good: the snapshot dropped a role."""
    with monkeypatch.context() as patched, open_zoo(disk.data) as url:
        patched.setattr("model_zoo.tuf.publisher_roles.SPLIT_AFTER", 2)
        publish(disk, url, THIRD, disk.folder / "third", user="alice")
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(THIRD, policy=Policy(), to=disk.folder / "before")
    disk.restore()
    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        author = Signer(key=ALICE, anchor=disk.anchor("alice anew"))
        with Transport(Server(url)) as transport:
            renew(transport, "alice", signer=author)
        publish(disk, url, THIRD, disk.folder / "third", user="alice anew")
        with ZooClient(url, anchor=disk.anchor("bob")) as bob:
            bob.pull(THIRD, policy=Policy(), to=disk.folder / "after")


def test_the_file_of_a_lost_withdrawal_is_withdrawn(disk: Disk) -> None:
    weights = disk.folder / "first" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")  # nobody else's
    name = "alice/other@1"
    with open_zoo(disk.data) as url:
        publish(disk, url, name, disk.folder / "first", user="alice")
    shutil.rmtree(disk.backup)
    disk.back_up()
    with (
        open_zoo(disk.data) as url,
        ZooClient(url, anchor=disk.anchor("alice")) as alice,
    ):
        alice.yank(name, reason="a drill", key=ALICE)
    disk.restore()
    with open_zoo(disk.data, accept_loss=disk.served()) as url:
        assert fetched(url, sha256_bytes(weights.read_bytes())) == 410
        with pytest.raises(YankedError, match="withdraw it again"):
            publish(disk, url, THIRD, disk.folder / "first", user="alice anew")
        others = (disk.folder / "third" / weights.name).read_bytes()
        assert fetched(url, sha256_bytes(others)) == 200


def test_nobody_takes_a_name_whose_binding_was_lost(disk: Disk) -> None:
    with (
        open_zoo(disk.data) as url,
        ZooClient(url, anchor=disk.anchor("alice")) as zoo,
    ):
        zoo.bind_publisher("bob", BOB.public)
    disk.restore()
    with (
        open_zoo(disk.data, accept_loss=disk.served()) as url,
        ZooClient(url, anchor=disk.anchor("bob anew")) as zoo,
    ):
        with pytest.raises(ConflictError, match="another key"):
            zoo.bind_publisher("bob", MALLORY.public)
        zoo.bind_publisher("bob", BOB.public)
