"""The repository checker on our own service, at rest and while publishers publish."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.http.server import Server
from model_zoo.names import ReleaseName
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Finding, Severity
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import ALICE, BOB, weights, write_files
from tests.model_zoo.servers import open_zoo

WATCH_SECONDS = 3


@dataclass
class Publisher:
    """Publishes one release after the other, and yanks every fourth, until stopped."""

    name: str
    zoo: ZooClient
    folder: Path
    stop: threading.Event
    published: list[str] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        key = {"alice": ALICE, "bob": BOB}[self.name]
        while not self.stop.is_set():
            number = len(self.published)
            name = f"{self.name}/digits@{number}"
            # each its own: what was yanked is not published again
            (self.folder / "model.safetensors").write_bytes(weights(number + 100))
            try:
                self.zoo.publish(name, self.folder, key=key)
                if len(self.published) % 4 == 3:
                    self.zoo.yank(name, reason="a drill", key=key)
            except BaseException as error:  # noqa: BLE001  told by the test's thread
                self.failed.append(error)
                return
            self.published.append(name)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ZooClient]]:
    folder = tmp_path_factory.mktemp("checked")
    with open_zoo(folder / "zoo") as url:
        root = (folder / "zoo" / "trust" / "root.json").read_bytes()
        anchor = Anchor(root=root, cache=folder / "cache")
        with ZooClient(url, anchor=anchor) as client:
            client.bind_publisher("alice", ALICE.public)
            client.bind_publisher("bob", BOB.public)
            yield url, client


def failures(url: str, extent: Extent) -> list[Finding]:
    findings = check_repository(Server(url), extent, clock=system_clock)
    return [it for it in findings if it.severity is Severity.FAILURE]


def test_our_own_repository_has_no_failures(
    zoo: tuple[str, ZooClient], tmp_path: Path
) -> None:
    url, client = zoo
    root = client.anchor.root
    assert failures(url, Extent(pinned=root)) == []
    files = write_files(tmp_path / "files")
    client.publish(ReleaseName("alice", "first", "1"), files, key=ALICE)
    client.publish(ReleaseName("alice", "first", "2"), files, key=ALICE)
    client.yank("alice/first@1", reason="a drill", key=ALICE)
    assert failures(url, Extent(pinned=root, deep=True)) == []


def test_no_look_finds_a_failure_while_two_publishers_publish(
    zoo: tuple[str, ZooClient], tmp_path: Path
) -> None:
    url, client = zoo
    stop = threading.Event()
    publishers = [
        Publisher(name, client, write_files(tmp_path / name), stop)
        for name in ("alice", "bob")
    ]
    threads = [threading.Thread(target=it.run) for it in publishers]
    for thread in threads:
        thread.start()
    try:
        found = failures(url, Extent(watch_seconds=WATCH_SECONDS))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [error for it in publishers for error in it.failed] == []
    assert all(it.published for it in publishers)
    assert found == []
    assert failures(url, Extent(deep=True)) == []
