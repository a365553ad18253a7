from collections.abc import Iterator
from pathlib import Path

import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import ALICE, BUILDER
from tests.model_zoo.servers import anchor_of, open_zoo


@pytest.fixture(scope="session")
def zoo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service keeps everything, its development root among it."""
    return tmp_path_factory.mktemp("zoo") / "zoo"


@pytest.fixture(scope="session")
def zoo_url(zoo_folder: Path) -> Iterator[str]:
    """The real service on a real socket, small parts, alice and lab bound."""
    with open_zoo(zoo_folder, part_bytes=32) as url:
        with ZooClient(url) as zoo:
            zoo.bind_publisher("alice", ALICE.public)
            zoo.bind_trainer("lab", BUILDER.public)
        yield url


@pytest.fixture(scope="session")
def anchor(zoo_url: str, zoo_folder: Path) -> Anchor:  # noqa: ARG001  makes the root
    """The service's root, pinned."""
    return anchor_of(zoo_folder)


@pytest.fixture
def zoo(zoo_url: str, anchor: Anchor) -> Iterator[ZooClient]:
    with ZooClient(zoo_url, anchor=anchor) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits"
