"""The checker and the transparency log: what is served was logged, and only that."""

import json
from collections.abc import Callable

import pytest

from model_zoo.digests import sha256_bytes
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.transparency.merkle import Position, appended, leaf_hash, root_hash
from model_zoo.transparency.tlog import (
    TILE_WIDTH,
    Checkpoint,
    LogEntry,
    Tile,
    to_bundle,
)
from model_zoo.tuf.roles import TRUSTED_KEYS
from model_zoo.tuf.trusted_keys import TrustedKeys
from tests.model_zoo.tuf.repositories import (
    NOW,
    TufRepository,
    good_repository,
    serving,
)

LOG_KEY = SigningKey.generate()
ORIGIN = "verified-model-zoo/a-test"
FILLER = TILE_WIDTH + 10
"""Entries of other kinds, so that the log has more than one bundle."""


def entry(name: str, version: int, data: bytes) -> bytes:
    return LogEntry(
        kind="metadata", name=name, version=version, sha256=sha256_bytes(data)
    ).to_bytes()


def write_log(
    it: TufRepository,
    entries: list[bytes],
    *,
    key: SigningKey = LOG_KEY,
    origin: str = ORIGIN,
) -> None:
    """Serve a log of exactly ``entries`` beside the repository."""
    nothing: dict[Position, bytes] = {}
    nodes = appended(0, map(leaf_hash, entries), nothing.__getitem__)
    root = root_hash(len(entries), nodes.__getitem__)
    checkpoint = Checkpoint(origin, len(entries), root)
    it.files["/log/checkpoint"] = checkpoint.signed(key).to_bytes()
    for begin in range(0, len(entries), TILE_WIDTH):
        bundle = entries[begin : begin + TILE_WIDTH]
        tile = Tile(None, begin // TILE_WIDTH, len(bundle))
        it.files[f"/log/{tile.path}"] = to_bundle(bundle)


def served(it: TufRepository) -> list[bytes]:
    """Return the entries of everything that the repository ever published."""
    entries = [
        LogEntry(kind="key", name=f"key-{i}", sha256="0" * 64).to_bytes()
        for i in range(FILLER)
    ]
    for path, data in it.files.items():
        version, _, name = path.rpartition("/")[2].removesuffix(".json").partition(".")
        if path.startswith("/tuf/metadata/") and name not in {"", "snapshot"}:
            entries.append(entry(name, int(version), data))
    return entries


@pytest.fixture
def repository() -> TufRepository:
    """A repository whose trusted keys name a log, and all of it logged."""
    it = good_repository()
    keys = TrustedKeys(log=(LOG_KEY.public.to_pem(),), log_origin=ORIGIN)
    it.add_target("targets", TRUSTED_KEYS, keys.to_bytes())
    it.publish_next("targets")
    write_log(it, served(it))
    return it


def found(it: TufRepository) -> set[tuple[str, str]]:
    with serving(it) as url:
        findings = check_repository(Server(url), Extent(), clock=lambda: NOW)
    return {(finding.code, finding.role) for finding in findings}


def test_a_log_of_everything_has_no_findings(repository: TufRepository) -> None:
    assert found(repository) == set()


def test_a_role_made_for_one_reader_was_never_logged(repository: TufRepository) -> None:
    repository.publish_next("alice")
    assert found(repository) == {("not-logged", "alice")}


def test_a_root_that_was_never_logged_is_told(repository: TufRepository) -> None:
    repository.publish_next("root")
    assert found(repository) == {("not-logged", "root")}


def test_two_files_of_one_version_are_told(repository: TufRepository) -> None:
    write_log(repository, [*served(repository), entry("alice", 1, b"another")])
    assert found(repository) == {("equivocation", "alice")}


@pytest.mark.parametrize("name", ["alice", "root", "unheard-of"])
def test_who_is_served_less_than_is_logged_is_told(
    repository: TufRepository, name: str
) -> None:
    write_log(repository, [*served(repository), entry(name, 9, b"the newest")])
    assert found(repository) == {("freeze", name)}


def no_checkpoint(it: TufRepository) -> None:
    del it.files["/log/checkpoint"]


def no_bundle(it: TufRepository) -> None:
    del it.files["/log/tile/entries/000"]


def signed_by_another(it: TufRepository) -> None:
    write_log(it, served(it), key=SigningKey.generate())


def called_otherwise(it: TufRepository) -> None:
    write_log(it, served(it), origin="another-log")


def an_entry_changed(it: TufRepository) -> None:
    path = "/log/tile/entries/000"
    it.files[path] = it.files[path].replace(b"key-1", b"key-x", 1)


def an_entry_that_is_none(it: TufRepository) -> None:
    write_log(it, [*served(it), json.dumps({"kind": "gossip"}).encode()])


@pytest.mark.parametrize(
    "break_it",
    [
        no_checkpoint,
        no_bundle,
        signed_by_another,
        called_otherwise,
        an_entry_changed,
        an_entry_that_is_none,
    ],
)
def test_a_log_that_cannot_be_read_as_signed_is_told(
    repository: TufRepository, break_it: Callable[[TufRepository], None]
) -> None:
    break_it(repository)
    assert found(repository) == {("log", "log")}
