"""A release that was pulled, for tests that look at the folder afterwards."""

import shutil
from pathlib import Path

import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.statements.policy import Policy
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import ALICE, PULLED, write_files


@pytest.fixture(scope="session")
def once(
    zoo_url: str, anchor: Anchor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder that was pulled once, its evidence in it; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("once")
    with ZooClient(zoo_url, anchor=anchor) as zoo:
        zoo.publish(PULLED, write_files(folder / "files"), key=ALICE)
        zoo.pull(PULLED, policy=Policy(), to=folder / "pulled")
    return folder / "pulled"


@pytest.fixture
def pulled(once: Path, tmp_path: Path) -> Path:
    """A copy of it, a test's own."""
    shutil.copytree(once, tmp_path / "pulled")
    return tmp_path / "pulled"
