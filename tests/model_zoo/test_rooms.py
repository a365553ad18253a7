"""The rooms of ``model_zoo``: nobody reads more than a dozen names to find his own."""

from pathlib import Path

import pytest

import model_zoo

PACKAGE = Path(model_zoo.__file__).parent
MAX_MODULES = 12
ROOMS = [path for path in sorted(PACKAGE.iterdir()) if (path / "__init__.py").exists()]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_at_most_twelve_modules(room: Path) -> None:
    modules = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert 1 <= len(modules) <= MAX_MODULES
