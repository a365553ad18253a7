from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.zoo import Zoo, open_zoo


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    """A service with its names bound, over a folder of its own."""
    with open_zoo(tmp_path / "zoo") as opened:
        opened.bind()
        yield opened
