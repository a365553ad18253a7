"""Many publish at once on a real socket: none is lost, no reader sees a half."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.errors import NotFoundError
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Severity
from model_zoo.tuf.releases import read_release
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import write_files
from tests.model_zoo.servers import anchor_of, open_zoo

PUBLISHERS = 32
AT_ONE_NAME = 4
"""Of them share a name and a key, and have to build upon each other."""


SHARED = "shared"
KEYS = {
    name: SigningKey.generate()
    for name in (SHARED, *(f"p{n}" for n in range(PUBLISHERS - AT_ONE_NAME)))
}
RELEASES = [
    *(ReleaseName(name, "digits", "1") for name in KEYS if name != SHARED),
    *(ReleaseName(SHARED, "digits", str(version)) for version in range(AT_ONE_NAME)),
]


@pytest.fixture
def zoo_url(tmp_path: Path) -> Iterator[str]:
    with open_zoo(tmp_path / "zoo") as url, ZooClient(url) as zoo:
        for name, key in KEYS.items():
            zoo.bind_publisher(name, key.public)
        yield url


@dataclass
class Reader:
    """Looks again and again, as a new client each time, and remembers what it saw."""

    url: str
    root: bytes
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    looks: int = 0
    seen: set[ReleaseName] = field(default_factory=set)
    wrong: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        while not self.stop.is_set():
            anchor = Anchor(root=self.root, cache=self.folder / str(self.looks % 3))
            try:
                self.seen |= found(self.url, anchor, at_least=self.seen)
            except BaseException as error:  # noqa: BLE001  told by the test's thread
                self.wrong.append(error)
                return
            self.looks += 1


def found(url: str, anchor: Anchor, *, at_least: set[ReleaseName]) -> set[ReleaseName]:
    """Return the releases that TUF vouches for now; none may have gone."""
    names = set()
    with anchor.refreshed(Server(url)) as zoo:
        for name in RELEASES:
            try:
                assert read_release(zoo, name).statement.release == name
            except NotFoundError:
                assert name not in at_least, f"{name} was there and is gone"
                continue
            names.add(name)
    return names


def test_none_is_lost_and_no_reader_sees_a_half(zoo_url: str, tmp_path: Path) -> None:
    root = anchor_of(tmp_path / "zoo").root
    files = write_files(tmp_path / "files")
    reader = Reader(zoo_url, root, tmp_path / "reader")
    watching = threading.Thread(target=reader.run)

    def publish(name: ReleaseName) -> str:
        anchor = Anchor(
            root=root, cache=tmp_path / "seen" / str(name).replace("/", "-")
        )
        with ZooClient(zoo_url, anchor=anchor) as zoo:
            return zoo.publish(name, files, key=KEYS[name.publisher]).name

    watching.start()
    try:
        with ThreadPoolExecutor(PUBLISHERS) as pool:
            published = list(pool.map(publish, RELEASES))
    finally:
        reader.stop.set()
        watching.join()

    assert reader.wrong == []
    assert reader.looks > 0
    assert sorted(published) == sorted(map(str, RELEASES))
    last = Anchor(root=root, cache=tmp_path / "last")
    assert found(zoo_url, last, at_least=reader.seen) == set(RELEASES)
    extent = Extent(pinned=root, deep=True)
    findings = check_repository(Server(zoo_url), extent, clock=system_clock)
    assert [it for it in findings if it.severity is Severity.FAILURE] == []
