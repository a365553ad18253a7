"""The model cache: a model is the recipe's and the data's, and is made once."""

import fcntl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model_zoo.errors import LocalError, ZooError
from model_zoo.statements.jobs import Schedule, StrengthenSpec, TrainSpec
from trainer.data import DATASETS
from trainer.experiments.engine.cells import NO_PARENT, Recipe, RecipeSpec
from trainer.experiments.engine.models import CPU, ModelCache, make_here

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
    def make(_: RecipeSpec, *, parent: Path | None, place: Path, device: str) -> bytes:
        assert device == "cpu"
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
        places.append(ModelCache(folder=tmp_path).place(recipe))
    assert places[0] == places[2] != places[1]


def test_other_recipes_are_other_models(tmp_path: Path) -> None:
    models = ModelCache(folder=tmp_path)
    reseeded = Recipe(spec=SPEC.model_copy(update={"seed": 1}))
    names = {models.place(it) for it in (RECIPE, CHILD, reseeded)}
    assert len(names) == 3


def test_a_model_of_another_device_is_another_model_unless_it_is_ordered(
    tmp_path: Path,
) -> None:
    devices = (CPU, torch.device("meta"))
    here = {ModelCache(folder=tmp_path, device=it).place(RECIPE) for it in devices}
    assert len(here) == 2
    ordered = {
        ModelCache(folder=tmp_path, device=it, made_by="lab").place(RECIPE)
        for it in devices
    }
    assert len(ordered) == 1


def test_a_model_of_another_precision_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = set()
    for has_tiles in (False, True):
        monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda it=has_tiles: it)
        places.add(ModelCache(folder=tmp_path).place(RECIPE))
    assert len(places) == 2


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[Path] = []
    for _ in range(2):
        models = ModelCache(folder=tmp_path, make=counted(made))
        assert models.path(CHILD).read_bytes() == b"child of weights"
    assert made == [models.place(RECIPE), models.place(CHILD)]


def test_whoever_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    models = ModelCache(folder=tmp_path, make=counted([]))
    place = models.place(RECIPE)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=models.path, args=(RECIPE,))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        place.write_bytes(b"made by the first")
    second.join()
    assert models.path(RECIPE).read_bytes() == b"made by the first"


def test_where_no_model_can_be_kept_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    models = ModelCache(folder=tmp_path / "file" / "models")
    with pytest.raises(LocalError, match=r"cannot use .*/file/models/.*\.lock"):
        models.path(RECIPE)


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    place, junk = tmp_path / "model.safetensors", tmp_path / "junk"
    junk.write_bytes(b"no weights")
    left = tmp_path / "model.build" / ".checkpoints-x"
    left.mkdir(parents=True)
    (left / "half").touch()
    with pytest.raises(ZooError):
        make_here(CHILD.spec, parent=junk, place=place)
    assert list(tmp_path.iterdir()) == [junk]
