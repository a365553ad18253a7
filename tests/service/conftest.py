import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.zoo import Zoo, open_zoo


@pytest.fixture(scope="session")
def bound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which names are bound; copying it beats migrating anew."""
    folder = tmp_path_factory.mktemp("bound") / "zoo"
    with open_zoo(folder) as opened:
        opened.bind()
    return folder


@pytest.fixture
def zoo(bound_folder: Path, tmp_path: Path) -> Iterator[Zoo]:
    """A service with its names bound, over a folder of its own."""
    shutil.copytree(bound_folder, tmp_path / "zoo")
    with open_zoo(tmp_path / "zoo") as opened:
        yield opened
