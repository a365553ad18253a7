"""A hostile repository, and a client that has been there before."""

import copy
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root

from model_zoo.errors import (
    ExpiredMetadataError,
    LengthMismatchError,
    LocalError,
    MalformedDocumentError,
    NotFoundError,
    PolicyNotMetError,
    RollbackError,
    ThresholdNotMetError,
    TransportError,
    VerificationError,
    ZooError,
)
from model_zoo.http.server import Server
from model_zoo.tuf.roles import DEVELOPMENT
from model_zoo.tuf.updater import refreshed
from model_zoo.tuf.view import TrustedZoo
from tests.model_zoo.servers import answering, respond
from tests.model_zoo.tuf.repositories import (
    NOW,
    WEIGHTS,
    WEIGHTS_PATH,
    TufRepository,
    good_repository,
    public,
    serving,
    signer,
)

Files = dict[str, bytes]
MANY = 300
"""Roots in a row: more than a client follows in one go (256)."""


@pytest.fixture
def repository() -> TufRepository:
    return good_repository()


@pytest.fixture
def url(repository: TufRepository) -> Iterator[str]:
    with serving(repository) as at:
        yield at


@pytest.fixture
def root(repository: TufRepository) -> bytes:
    """The first root, as it was pinned."""
    return repository.files["/tuf/metadata/1.root.json"]


Look = Callable[..., TrustedZoo]


@pytest.fixture
def look(url: str, root: bytes, tmp_path: Path) -> Look:
    """Look at the repository as one client, again and again."""

    def at(**ahead: float) -> TrustedZoo:
        now = NOW + timedelta(**ahead)
        cache = tmp_path / "cache"
        with refreshed(Server(url), root, cache=cache, now=now) as zoo:
            zoo.target(WEIGHTS_PATH)
            return zoo

    return at


def held(repository: TufRepository) -> Files:
    """Return all that is served now, to be served again later."""
    return dict(repository.files)


def test_what_a_role_vouches_for_is_found_and_read(
    look: Look, url: str, root: bytes, tmp_path: Path
) -> None:
    assert look().root.version == 2
    with refreshed(Server(url), root, cache=tmp_path / "other", now=NOW) as zoo:
        assert zoo.read_target(WEIGHTS_PATH) == WEIGHTS
        with pytest.raises(NotFoundError):
            zoo.read_target("alice/digits/2/weights.safetensors")


def test_an_old_repository_is_refused_by_who_has_seen_the_new(
    look: Look, repository: TufRepository
) -> None:
    old = held(repository)
    repository.publish_next("alice")
    look()

    repository.files = {**repository.files, **old}

    with pytest.raises(RollbackError):
        look()


def test_a_new_timestamp_over_an_old_snapshot_is_refused(
    look: Look, repository: TufRepository
) -> None:
    """A thief of the timestamp key cannot take anybody back."""
    before = copy.deepcopy(repository.roles["snapshot"])
    repository.publish_next("alice")
    look()

    repository.roles["snapshot"] = before
    repository.roles["timestamp"].signed.version += 1
    repository.stamp()

    with pytest.raises(RollbackError):
        look()


def test_a_new_snapshot_with_an_old_role_is_refused(
    look: Look, repository: TufRepository
) -> None:
    """A thief of every online key cannot bring an old signed release back."""
    repository.publish_next("alice")
    look()

    repository.next()
    repository.roles["snapshot"].signed.meta["alice.json"].version -= 1
    repository.store("snapshot")
    repository.stamp()

    with pytest.raises(RollbackError):
        look()


def test_a_snapshot_that_drops_a_role_is_refused(
    look: Look, repository: TufRepository
) -> None:
    look()

    repository.next()
    del repository.roles["snapshot"].signed.meta["bob.json"]
    repository.store("snapshot")
    repository.stamp()

    with pytest.raises(VerificationError):
        look()


def test_a_frozen_repository_is_refused_when_its_timestamp_dies(look: Look) -> None:
    look()
    look(hours=23)
    for ahead in (25, 48, 24 * 365):
        with pytest.raises(ExpiredMetadataError):
            look(hours=ahead)


def test_a_clock_that_is_a_year_ahead_believes_nothing_for_the_first_time(
    url: str, root: bytes, tmp_path: Path
) -> None:
    ahead = NOW + timedelta(days=366)
    with (
        pytest.raises(ExpiredMetadataError),
        refreshed(Server(url), root, cache=tmp_path, now=ahead),
    ):
        pytest.fail("it was believed")


def test_files_of_two_moments_do_not_fit_together(
    look: Look, repository: TufRepository
) -> None:
    old = held(repository)
    repository.publish_next("alice")
    snapshot = repository.file("snapshot")

    before = snapshot.replace(
        f"/{repository.roles['snapshot'].signed.version}.",
        f"/{repository.roles['snapshot'].signed.version - 1}.",
    )
    repository.files[snapshot] = old[before]

    with pytest.raises(VerificationError):
        look()


def test_a_role_of_another_moment_does_not_fit_its_snapshot(
    look: Look, repository: TufRepository
) -> None:
    repository.publish_next("alice")
    newest = repository.file("alice")
    repository.files[newest] = repository.files["/tuf/metadata/2.alice.json"]

    with pytest.raises(RollbackError):
        look()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "alice"])
def test_a_role_that_another_key_signed_is_refused(
    look: Look, repository: TufRepository, role: str
) -> None:
    repository.signers[role] = ["mallory"]
    repository.publish_next("targets", "alice")

    with pytest.raises(ThresholdNotMetError):
        look()


def test_one_key_under_two_keyids_does_not_count_twice(
    look: Look, repository: TufRepository
) -> None:
    """TUF counts keyids; a publisher's threshold of two would be met by one key."""
    delegations = repository.roles["targets"].signed.delegations
    alias = "f" * 64
    (keyid,) = delegations.roles["alice"].keyids
    value = delegations.keys[keyid].keyval
    delegations.keys[alias] = SSlibKey(alias, "ed25519", "ed25519", value)
    delegations.roles["alice"].keyids.append(alias)
    repository.publish_next("targets")

    with pytest.raises(MalformedDocumentError, match="its own keyid"):
        look()


def test_who_was_fast_forwarded_recovers_with_the_next_root(
    look: Look, repository: TufRepository
) -> None:
    """A thief of the online keys raised the versions as far as they go."""
    for name in ("timestamp", "snapshot"):
        repository.roles[name].signed.version = 2**31 - 2
    repository.publish_next()
    look()

    for name in ("timestamp", "snapshot"):
        repository.roles[name].signed.version = 10
    repository.publish_next()
    with pytest.raises(RollbackError):
        look()
    for name in ("timestamp", "snapshot"):
        rotate(repository, name, "new online")
    repository.publish_next("root")

    assert look().timestamp.version == 12


def rotate(repository: TufRepository, role: str, key: str) -> None:
    """Give a role of the root's to another key; the next root says so."""
    root = repository.roles["root"].signed
    for keyid in list(root.roles[role].keyids):
        root.revoke_key(keyid, role)
    root.add_key(public(key), role)
    repository.signers[role] = [key]


def test_one_root_for_every_version_is_not_followed(
    look: Look, repository: TufRepository
) -> None:
    newest = repository.files[repository.file("root")]
    for version in range(3, MANY):
        repository.files[f"/tuf/metadata/{version}.root.json"] = newest

    with pytest.raises(VerificationError):
        look()


def test_a_chain_of_roots_without_end_ends_nevertheless(
    root: bytes, repository: TufRepository, tmp_path: Path
) -> None:
    asked: list[str] = []
    for _ in range(MANY):
        repository.roles["root"].signed.version += 1
        repository.store("root")
    with (
        serving(repository, seen=asked.append) as url,
        refreshed(Server(url), root, cache=tmp_path, now=NOW) as zoo,
    ):
        assert zoo.root.version < MANY
    assert len([path for path in asked if path.endswith(".root.json")]) < MANY


def test_a_root_that_its_predecessors_holders_did_not_sign_is_refused(
    look: Look, repository: TufRepository
) -> None:
    look()
    root = repository.roles["root"].signed
    for one in ("root1", "root2", "root3"):
        root.revoke_key(public(one).keyid, "root")
        root.add_key(public(f"mallory {one}"), "root")
    repository.signers["root"] = ["mallory root1", "mallory root2"]
    repository.publish_next("root")

    with pytest.raises(ThresholdNotMetError):
        look()


def test_the_wrong_pinned_root_believes_nothing(url: str, tmp_path: Path) -> None:
    other = copy.deepcopy(good_repository())
    rotate(other, "timestamp", "another")
    other.roles["root"].signed.version = 1
    other.signers["root"] = ["root1", "root3"]
    other.store("root")
    pinned = other.files["/tuf/metadata/1.root.json"]
    with refreshed(Server(url), pinned, cache=tmp_path, now=NOW) as zoo:
        assert zoo.root.version == 2, "the same holders signed the next one"
    mallorys = Metadata[Root].from_bytes(pinned)
    mallorys.signatures.clear()
    with (
        pytest.raises(ThresholdNotMetError),
        refreshed(Server(url), mallorys.to_bytes(), cache=tmp_path, now=NOW),
    ):
        pytest.fail("an unsigned root was believed")


@contextmanager
def endless(repository: TufRepository, path: str) -> Iterator[tuple[str, list[int]]]:
    """Serve the repository, but one file of it without an end."""
    sent = [0]

    def answer(request: BaseHTTPRequestHandler) -> None:
        data = repository.files.get(request.path, b"")
        is_there = request.path in repository.files or request.path == path
        request.send_response(200 if is_there else 404)
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        request.wfile.write(data)
        while request.path == path:
            sent[0] += request.wfile.write(b" " * 65536)

    with answering(answer) as url:
        yield url, sent


@pytest.mark.parametrize(
    "path",
    ["3.root.json", "timestamp.json", "3.snapshot.json", "1.targets.json"],
)
def test_a_file_without_an_end_is_cut_off(
    repository: TufRepository, root: bytes, path: str, tmp_path: Path
) -> None:
    if path == "3.snapshot.json":
        path = repository.file("snapshot").rpartition("/")[2]
    with endless(repository, f"/tuf/metadata/{path}") as (url, sent):
        with (
            pytest.raises((LengthMismatchError, MalformedDocumentError)),
            refreshed(Server(url), root, cache=tmp_path, now=NOW),
        ):
            pytest.fail("it was read to its end")
        assert sent[0] < 32 * 1024 * 1024


@pytest.mark.parametrize("change", [b"", b"w", WEIGHTS + b"x", b"x" * len(WEIGHTS)])
def test_a_target_of_another_length_or_hash_is_refused(
    url: str, repository: TufRepository, root: bytes, change: bytes, tmp_path: Path
) -> None:
    (path,) = (it for it in repository.files if it.endswith("weights.safetensors"))
    repository.files[path] = change
    with refreshed(Server(url), root, cache=tmp_path, now=NOW) as zoo:
        with pytest.raises((VerificationError, TransportError)) as refused:
            zoo.read_target(WEIGHTS_PATH)
        assert zoo.read == {}, "nothing of it is kept as evidence"
    assert isinstance(refused.value, VerificationError) or change == b""


def development(root: bytes) -> bytes:
    """Return a root with the mark; nobody has to have signed it to see it."""
    marked = Metadata[Root].from_bytes(root)
    marked.signed.unrecognized_fields[DEVELOPMENT] = True
    return resigned(marked)


def resigned(root: Metadata[Root]) -> bytes:
    root.signatures.clear()
    for one in ("root1", "root2"):
        root.sign(signer(one), append=True)
    return root.to_bytes()


@pytest.mark.parametrize(
    "url",
    [
        "https://zoo.example",
        "https://127.0.0.1.zoo.example",
        "https://localhost.zoo.example",
        "https://10.0.0.1",
        "https://[2001:db8::1]",
    ],
)
def test_a_development_root_is_believed_by_nobody_beyond_loopback(
    root: bytes, url: str, tmp_path: Path
) -> None:
    """It is refused before anything is asked: no such host exists."""
    with (
        pytest.raises(PolicyNotMetError, match="development root"),
        refreshed(Server(url), development(root), cache=tmp_path, now=NOW),
    ):
        pytest.fail("it was believed")


def test_a_development_root_is_believed_on_loopback(
    url: str, repository: TufRepository, root: bytes, tmp_path: Path
) -> None:
    repository.files["/tuf/metadata/1.root.json"] = development(root)
    with refreshed(Server(url), development(root), cache=tmp_path, now=NOW) as zoo:
        assert zoo.target(WEIGHTS_PATH) is not None


CACHED = ["timestamp.json", "snapshot.json", "targets.json", "alice.json", "root.json"]
DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "emptied": lambda path: path.write_bytes(b""),
    "garbled": lambda path: path.write_bytes(b"\x00\xff" + path.read_bytes()[2:]),
    "changed": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"version": 1', b'"version": 9')
    ),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
@pytest.mark.parametrize("name", CACHED)
def test_a_damaged_cache_is_healed(
    look: Look, repository: TufRepository, name: str, damage: str, tmp_path: Path
) -> None:
    look()
    old = held(repository)
    repository.publish_next("alice")
    look()
    (folder,) = (tmp_path / "cache").iterdir()
    DAMAGE[damage](folder / name)

    assert look().target(WEIGHTS_PATH) is not None
    repository.files = {**repository.files, **old}
    with pytest.raises(RollbackError):
        look()


def test_a_cache_that_was_thrown_away_remembers_nothing_but_still_verifies(
    look: Look, tmp_path: Path
) -> None:
    look()
    shutil.rmtree(tmp_path / "cache")
    assert look().target(WEIGHTS_PATH) is not None


@contextmanager
def held_up(files: Files) -> Iterator["HeldUp"]:
    """Yield a mirror that shows ``files`` and waits before it sends its timestamp."""
    asked, goes_on = threading.Event(), threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith("timestamp.json"):
            asked.set()
            assert goes_on.wait(60)
        data = files.get(request.path)
        respond(request, data or b"", status=404 if data is None else 200)

    with answering(answer) as url:
        yield HeldUp(url, asked, goes_on)
        goes_on.set()


@dataclass(frozen=True)
class HeldUp:
    url: str
    asked: threading.Event
    goes_on: threading.Event


def look_from(url: str, root: bytes, cache: Path, ended: list[object]) -> None:
    try:
        with refreshed(Server(url), root, cache=cache, now=NOW) as zoo:
            ended.append(zoo.timestamp.version)
    except ZooError as error:
        ended.append(type(error))


def test_a_mirror_that_hangs_does_not_hang_who_asks_an_honest_one(
    look: Look, repository: TufRepository, root: bytes, tmp_path: Path
) -> None:
    ended: list[object] = []
    with held_up(held(repository)) as slow:
        first = threading.Thread(
            target=look_from, args=(slow.url, root, tmp_path / "cache", ended)
        )
        first.start()
        assert slow.asked.wait(60)
        look()
        assert first.is_alive()
        slow.goes_on.set()
        first.join()
    assert ended == [repository.roles["timestamp"].signed.version]


def test_who_was_overtaken_neither_forgets_what_is_newer_nor_believes_what_is_older(
    look: Look, repository: TufRepository, root: bytes, tmp_path: Path
) -> None:
    before = look().timestamp.version
    old, ended = held(repository), list[object]()
    repository.publish_next("alice")
    with held_up(old) as slow:
        first = threading.Thread(
            target=look_from, args=(slow.url, root, tmp_path / "cache", ended)
        )
        first.start()
        assert slow.asked.wait(60)
        newest = look().timestamp.version
        slow.goes_on.set()
        first.join()
    assert ended == [RollbackError]
    repository.files = {**repository.files, **old}
    with pytest.raises(RollbackError):
        look()
    assert newest > before


def test_what_a_killed_process_was_working_on_goes(look: Look, tmp_path: Path) -> None:
    look()
    (shared,) = (tmp_path / "cache").iterdir()
    (shared / ".own-killed").mkdir()
    look()
    assert not list(shared.glob(".own-*"))


def test_a_pipe_in_the_cache_is_told_and_not_waited_for(
    look: Look, tmp_path: Path
) -> None:
    look()
    (shared,) = (tmp_path / "cache").iterdir()
    (shared / "snapshot.json").unlink()
    os.mkfifo(shared / "snapshot.json")
    with pytest.raises(LocalError, match=r"snapshot\.json is not a plain file"):
        look()
