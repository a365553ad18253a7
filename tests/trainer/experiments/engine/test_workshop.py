"""The workshop: a model is the recipe's and the data's, and is made once."""

import fcntl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_zoo.errors import LocalError, ZooError
from model_zoo.statements.jobs import Schedule, StrengthenSpec, TrainSpec
from trainer.data import DATASETS
from trainer.experiments.engine.contract import NO_PARENT, Recipe, RecipeSpec
from trainer.experiments.engine.workshop import KeptModels, make_here

SPEC = TrainSpec(schedule=Schedule(epochs=1), checkpoints=False)
RECIPE = Recipe(spec=SPEC)
CHILD = Recipe(
    spec=StrengthenSpec(parent=NO_PARENT, layer="conv2", factor=2), parent=RECIPE
)


def fill(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """Let the data set hold files whose digest is ``content``."""
    here = replace(DATASETS["mnist"], digest=lambda: content)
    monkeypatch.setitem(DATASETS, "mnist", here)


def counted(made: list[Path]) -> Callable[..., bytes]:
    def make(_: RecipeSpec, *, parent: Path | None, place: Path) -> bytes:
        made.append(place)
        return b"weights" if parent is None else b"child of " + parent.read_bytes()

    return make


@pytest.mark.parametrize("recipe", [RECIPE, CHILD], ids=["model", "child"])
def test_a_model_of_other_data_is_another_model(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = []
    for content in ("one", "two", "one"):
        fill(monkeypatch, content)
        places.append(KeptModels(folder=tmp_path).place(recipe))
    assert places[0] == places[2] != places[1]


def test_other_recipes_are_other_models(tmp_path: Path) -> None:
    shelf = KeptModels(folder=tmp_path)
    reseeded = Recipe(spec=SPEC.model_copy(update={"seed": 1}))
    names = {shelf.place(it) for it in (RECIPE, CHILD, reseeded)}
    assert len(names) == 3


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[Path] = []
    for _ in range(2):
        shelf = KeptModels(folder=tmp_path, make=counted(made))
        assert shelf.path(CHILD).read_bytes() == b"child of weights"
    assert made == [shelf.place(RECIPE), shelf.place(CHILD)]


def test_whoever_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    shelf = KeptModels(folder=tmp_path, make=counted([]))
    place = shelf.place(RECIPE)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=shelf.path, args=(RECIPE,))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        place.write_bytes(b"made by the first")
    second.join()
    assert shelf.path(RECIPE).read_bytes() == b"made by the first"


def test_where_no_model_can_be_kept_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shelf = KeptModels(folder=tmp_path / "file" / "models")
    with pytest.raises(LocalError, match=r"cannot use .*/file/models/.*\.lock"):
        shelf.path(RECIPE)


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    place, junk = tmp_path / "model.safetensors", tmp_path / "junk"
    junk.write_bytes(b"no weights")
    left = tmp_path / "model.build" / ".checkpoints-x"
    left.mkdir(parents=True)
    (left / "half").touch()
    with pytest.raises(ZooError):
        make_here(CHILD.spec, parent=junk, place=place)
    assert list(tmp_path.iterdir()) == [junk]
