"""A folder a class: the layout that needs no list."""

from pathlib import Path

import pytest

from model_zoo.errors import LocalError
from trainer.data.listings import by_class


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_a_class_and_the_classes_take_turns(tmp_path: Path) -> None:
    touch(tmp_path, "train/elm/b.png", "train/elm/a.png", "train/oak/7.png")
    touch(tmp_path, "train/oak/8.png")
    touch(tmp_path, "train/elm/c.png", "train/ash/1.png", "test/oak/t.png")
    (tmp_path / "train" / "oak" / "more").mkdir()

    found = by_class("oak", "elm")(tmp_path, "train").images

    assert [(it.path, it.label) for it in found] == [
        ("train/oak/7.png", 0),
        ("train/elm/a.png", 1),
        ("train/oak/8.png", 0),
        ("train/elm/b.png", 1),
        ("train/elm/c.png", 1),
    ]


def test_a_class_without_its_folder_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "test/oak/t.png")

    with pytest.raises(LocalError, match=r"cannot read .*test/elm: No such file"):
        by_class("oak", "elm")(tmp_path, "test")
