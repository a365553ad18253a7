"""Dogs vs. Cats: labels and split are in the names."""

from pathlib import Path

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st
from PIL import Image

from model_zoo.errors import LocalError
from trainer.data import DATASETS
from trainer.data.dogs_vs_cats import SIDE, listed

PETS = DATASETS["dogs-vs-cats"]


def write_pets(root: Path, *, n: int) -> Path:
    """Cats are dark, dogs are light; left and right of the middle square is red."""
    folder = root / "dogs-vs-cats" / "train"
    folder.mkdir(parents=True)
    for number in range(n):
        for name, shade in (("cat", 40), ("dog", 200)):
            picture = Image.new("RGB", (200, 100), (255, 0, 0))
            picture.paste((shade, shade, shade), (50, 0, 150, 100))
            picture.save(folder / f"{name}.{number}.jpg", quality=95)
    return folder


def test_the_middle_of_every_photograph_is_read_with_its_label(given: Path) -> None:
    write_pets(given, n=6)

    train, test = PETS.load("train"), PETS.load("test")

    assert train.images.shape == (8, 3, SIDE, SIDE)
    assert train.labels.tolist() == [0, 1] * 4
    assert test.labels.tolist() == [0, 1] * 2
    assert [round(int(i[1, 64, 64]), -1) for i in train.images] == [40, 200] * 4
    edges = train.images[:, 1, :, [3, -4]]
    assert edges.float().mean(dim=(1, 2)).round(decimals=-1).tolist() == [40, 200] * 4
    assert train.boxes is None
    assert train.groups is None


@for_any(st.sets(st.integers(0, 500)), st.permutations(["cat", "dog"]))
def test_every_file_is_in_one_split_whatever_the_order_of_the_folder(
    numbers: set[int], kinds: list[str]
) -> None:
    names = [f"{kind}.{number}.jpg" for kind in kinds for number in numbers]

    train, test = listed(names, "train"), listed(names, "test")

    assert {it.path for it in train} | {it.path for it in test} == {
        f"train/{name}" for name in names
    }
    assert all(int(it.path.split(".")[1]) % 5 == 0 for it in test)
    assert not any(int(it.path.split(".")[1]) % 5 == 0 for it in train)
    assert train == listed(names[::-1], "train")


def test_other_files_are_left_out() -> None:
    names = ["cat.1.jpg", "Thumbs.db", "cat.1.jpg.part", "bird.1.jpg", "cat.x.jpg"]
    assert [it.path for it in listed(names, "train")] == ["train/cat.1.jpg"]


def test_a_class_without_images_is_refused(given: Path) -> None:
    for path in write_pets(given, n=6).glob("dog.*"):
        path.unlink()

    with pytest.raises(LocalError, match="no image of label 1"):
        PETS.load("train")


def test_a_missing_folder_is_named(given: Path) -> None:
    (given / "dogs-vs-cats").mkdir()

    with pytest.raises(LocalError, match=r"cannot read .*train.*kaggle"):
        PETS.load("train")


@pytest.mark.skipif(not PETS.is_at_hand(), reason="needs Dogs vs. Cats")
def test_the_real_set_has_as_many_cats_as_dogs_to_hold_out() -> None:
    train = PETS.load("train")

    assert train.last(200).labels.bincount().tolist() == [100, 100]
    assert len(train) == 4 * len(PETS.load("test")) - 8
