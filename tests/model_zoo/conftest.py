from collections.abc import Iterator
from pathlib import Path

import pytest

from model_zoo.client import ZooClient
from tests.model_zoo.releases import ALICE, BUILDER
from tests.model_zoo.servers import open_zoo


@pytest.fixture(scope="session")
def zoo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real service on a real socket, small parts, alice and lab bound."""
    folder = tmp_path_factory.mktemp("zoo")
    with open_zoo(folder, part_bytes=32) as url:
        with ZooClient(url) as zoo:
            zoo.bind_publisher("alice", ALICE.public)
            zoo.bind_trainer("lab", BUILDER.public)
        yield url


@pytest.fixture
def zoo(zoo_url: str) -> Iterator[ZooClient]:
    with ZooClient(zoo_url) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits"
