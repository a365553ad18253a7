"""BelgiumTSC: the official layout, by the super-classes of the Swedish signs."""

from collections import Counter
from pathlib import Path

import pytest

from model_zoo.errors import LocalError
from tests.trainer.data.small_sets import draw, write_belgiumtsc, write_list
from trainer.data import DATASETS
from trainer.data.belgiumtsc import KIND_OF, KINDS
from trainer.data.gtsrb import SIDE
from trainer.networks.signs_cnn import signs_cnn

SIGNS = DATASETS["belgiumtsc-signs"]


def test_every_class_is_of_one_kind() -> None:
    assert sorted(KIND_OF) == list(range(62))
    assert Counter(KINDS[kind] for kind in KIND_OF.values()) == {
        "information": 16,
        "mandatory": 7,
        "prohibitory": 17,
        "warning": 20,
        "other": 2,
    }


def test_signs_are_read_by_kind_with_boxes_and_groups(given: Path) -> None:
    write_belgiumtsc(given)

    train, test = SIGNS.load("train"), SIGNS.load("test")

    assert train.labels.bincount().tolist() == [64, 28, 68, 80, 8]
    # the shade is the class's number, and the third class of each three has no image
    assert {int(image[0, 0, 0]) % 3 for image in test.images} == {1, 2}
    assert train.boxes is not None
    assert train.groups is not None
    assert len(set(train.groups.tolist())) == 62 * 2
    kinds = [KIND_OF[int(image[0, 0, 0])] for image in train.images]
    assert train.labels.tolist() == kinds


@pytest.mark.parametrize("size", [(40, 100), (100, 40), (60, 60)])
def test_a_sign_fills_its_picture_whatever_the_region_in_the_list(
    size: tuple[int, int], given: Path
) -> None:
    folder = write_belgiumtsc(given)
    draw(folder / "Training/00000/00000_00000.ppm", size=size)
    width, height = size
    # as the real lists have it: across and down exchanged, then cut off
    row = f"00000_00000.ppm;{width};{height};9;4;{width - 1};36;0"
    write_list(folder / "Training/00000/GT-00000.csv", [row])

    train = SIGNS.load("train")

    assert train.groups is not None
    assert train.boxes is not None
    at = int((train.groups == 0).nonzero()[0])
    border = 0.09 * SIDE
    found = train.boxes[at].tolist()
    assert found == pytest.approx([border, border, SIDE - border, SIDE - border])


def test_a_region_that_is_no_number_is_refused(given: Path) -> None:
    folder = write_belgiumtsc(given)
    path = folder / "Training/00000/GT-00000.csv"
    write_list(path, ["00000_00000.ppm;40;30;x;6;30;24;0"])

    with pytest.raises(LocalError, match=r"GT-00000\.csv, line 2: .*whole number"):
        SIGNS.load("train")


def test_a_folder_of_a_class_that_is_missing_is_named(given: Path) -> None:
    folder = write_belgiumtsc(given)
    (folder / "Testing/00061/GT-00061.csv").unlink()

    with pytest.raises(LocalError, match=r"Testing/00061/GT-00061\.csv"):
        SIGNS.load("test")


def test_the_teachers_convolutions_fit_the_students_images() -> None:
    assert signs_cnn(5).image_shape == (3, SIDE, SIDE)


@pytest.mark.skipif(not SIGNS.is_at_hand(), reason="needs BelgiumTSC")
def test_the_real_set_has_every_kind_among_the_held_out() -> None:
    train, test = SIGNS.load("train"), SIGNS.load("test")

    assert set(train.last(200).labels.tolist()) == set(range(5))
    assert set(test.labels.tolist()) == set(range(5))
