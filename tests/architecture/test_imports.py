"""Rooms: arrows one way, few modules in each, and a picture of them that is true."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MOST_MODULES = 12
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
PACKAGES = ("model_zoo", "service", "trainer")

FOLDERS = [
    folder
    for package in PACKAGES
    for folder in sorted((ROOT / package).rglob("*/"))
    if folder.is_dir() and any(folder.glob("*.py"))
]


@pytest.fixture(scope="module")
def rooms() -> dict[str, Any]:
    """What the script defines, whose imports collection need not wait for."""
    return runpy.run_path(str(ROOT / "docs" / "rooms.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_imports_from_one_that_imports_from_it(
    package: str, rooms: dict[str, Any]
) -> None:
    assert rooms["floors"](rooms["arrows"](package))


def test_rooms_that_import_each_other_are_told(rooms: dict[str, Any]) -> None:
    circle = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}
    with pytest.raises(ValueError, match=r"import each other: \['a', 'b', 'c'\]"):
        rooms["floors"](circle)


@pytest.mark.parametrize(
    "folder", [pytest.param(it, id=str(it.relative_to(ROOT))) for it in FOLDERS]
)
def test_a_room_holds_a_dozen_modules_at_most(folder: Path) -> None:
    modules = {it.name for it in folder.glob("*.py")} - {"__init__.py"}
    assert len(modules) <= MOST_MODULES, sorted(modules)


def test_the_picture_shows_the_rooms_and_arrows_that_there_are(
    rooms: dict[str, Any],
) -> None:
    assert rooms["PACKAGES"] == PACKAGES
    picture = PICTURE.read_text()
    drawn = re.findall(r"<text[^>]*>([\w.]+)</text>", picture)
    arrows = {package: rooms["arrows"](package) for package in PACKAGES}
    wanted = [it for of in arrows.values() for it in of] + [*PACKAGES]
    told = "run: make docs"
    assert sorted(drawn) == sorted(wanted), told
    ends = sum(len(it) for of in arrows.values() for it in rooms["direct"](of).values())
    assert picture.count(rooms["ARROW_COLOR"]) == 2 * ends, told
