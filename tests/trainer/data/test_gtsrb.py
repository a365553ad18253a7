"""GTSRB: the official layout, the paper's kinds, validation by track."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st

from model_zoo.errors import LocalError
from tests.trainer.data.small_sets import (
    BOX,
    HEADER,
    draw,
    line,
    write_gtsrb,
    write_list,
)
from trainer.data import DATASETS
from trainer.data.gtsrb import COLUMNS, KIND_OF, SIDE, region_of, track_of
from trainer.data.tables import table
from trainer.data.tracks import TRACKS_A_CLASS

SIGNS = DATASETS["gtsrb-signs"]
STOPS = "GTSRB/Training/00014"


def test_all_classes_are_read_with_boxes_and_tracks(given: Path) -> None:
    write_gtsrb(given)

    train, test = DATASETS["gtsrb"].load("train"), DATASETS["gtsrb"].load("test")

    assert train.images.shape == (43 * 4, 3, SIDE, SIDE)
    assert train.labels.bincount().tolist() == [4] * 43
    assert test.labels.tolist() == list(range(43))
    assert train.groups is not None
    assert set(train.groups.tolist()) == {
        c * 100_000 + t for c in range(43) for t in (0, 1)
    }
    # small_sets draws a class's number as the shade around its sign
    assert torch.equal(train.images[:, 0, 0, 0].long(), train.labels)
    assert test.groups is None


def test_the_papers_kinds_are_those_of_the_classes_it_names(given: Path) -> None:
    write_gtsrb(given)

    shades = SIGNS.load("train").images[:, 0, 0, 0].tolist()
    labels = SIGNS.load("train").labels.tolist()

    kinds = dict(zip(shades, labels, strict=True))
    assert kinds == KIND_OF
    assert {c for c in kinds if kinds[c] == 0} == {14}
    assert {c for c in kinds if kinds[c] == 1} == {0, 1, 2, 3, 4, 5, 7, 8}
    assert {c for c in kinds if kinds[c] == 2} == {11, *range(18, 32)}


def test_boxes_lie_on_the_signs(given: Path) -> None:
    write_gtsrb(given)
    data = SIGNS.load("test")

    assert data.boxes is not None
    for image, box in zip(data.images, data.boxes.tolist(), strict=True):
        left, top, right, bottom = (round(edge) for edge in box)
        assert 0 < left < right < SIDE
        assert image[:, top + 2 : bottom - 2, left + 2 : right - 2].min() == 255


def test_what_is_held_out_shares_no_track_with_what_is_trained_on(given: Path) -> None:
    write_gtsrb(given, tracks=4)
    train = SIGNS.load("train")

    for n in range(1, 40):
        held_out, seen = train.last(n), train.without_last(n)
        assert held_out.groups is not None
        assert seen.groups is not None
        assert not set(held_out.groups.tolist()) & set(seen.groups.tolist())
    assert set(train.last(len(train) // 4).labels.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([line("00000_00000.ppm", 13)], "expected class 14, found 13"),
        pytest.param([line("../1_00000.ppm", 14)], "expected a file's name"),
        pytest.param([line("stop.ppm", 14)], "expected a name TRACK_FRAME"),
        pytest.param(["00000_00000.ppm;1;2"], "expected 8 fields"),
        pytest.param(
            [line("00000_00000.ppm", 14).replace("10", "ten")], "whole number"
        ),
        pytest.param([], "no image of label 0"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_what_to_do(
    rows: list[str], message: str, given: Path
) -> None:
    folder = write_gtsrb(given)
    write_list(folder / STOPS / "GT-00014.csv", rows)

    with pytest.raises(LocalError, match=message) as refused:
        SIGNS.load("train")

    assert "gtsrb-signs" in str(refused.value)
    assert "benchmark.ini.rub.de" in str(refused.value)
    assert not SIGNS.is_at_hand()


def test_a_list_with_other_columns_is_refused_with_the_expected_ones(
    given: Path,
) -> None:
    folder = write_gtsrb(given)
    path = folder / STOPS / "GT-00014.csv"
    write_list(path, [], header="name;x;y")

    with pytest.raises(LocalError, match=f"GT-00014.csv, line 1.*{';'.join(COLUMNS)}"):
        SIGNS.load("train")


def test_a_test_image_of_an_unknown_class_is_refused(given: Path) -> None:
    folder = write_gtsrb(given)
    write_list(folder / "GT-final_test.csv", [line("00000.ppm", 43)])

    with pytest.raises(LocalError, match="expected a class below 43, found 43"):
        SIGNS.load("test")


@pytest.mark.parametrize(
    "box", [(10, 6, 41, 24), (10, 6, 30, 31), (30, 6, 10, 24), (10, 6, 10, 24)]
)
def test_a_box_outside_its_picture_is_refused_by_the_pictures_name(
    box: tuple[int, int, int, int], given: Path
) -> None:
    folder = write_gtsrb(given)
    write_list(folder / STOPS / "GT-00014.csv", [line("00001_00000.ppm", 14, box)])
    assert box != BOX

    with pytest.raises(LocalError, match=r"00001_00000\.ppm.*inside .* 40 x 30"):
        SIGNS.load("train")


def test_a_list_that_is_missing_is_named(given: Path) -> None:
    folder = write_gtsrb(given)
    (folder / "GTSRB/Training/00031/GT-00031.csv").unlink()

    with pytest.raises(LocalError, match=r"cannot read .*GT-00031\.csv"):
        SIGNS.load("train")


def test_another_layout_is_refused_with_the_expected_one(given: Path) -> None:
    draw(given / "gtsrb" / "Train" / "14" / "00014_00000_00000.png")

    with pytest.raises(LocalError, match=r"unpack it as GTSRB/Training/000CC"):
        SIGNS.load("train")


ROWS = st.lists(
    st.sampled_from(
        [
            "00000_00001.ppm",
            ";",
            "\n",
            "14",
            "40",
            "-1",
            "é",
            ".",
            "/",
            line("a.ppm", 3),
        ]
    )
).map("".join)


@for_any(ROWS)
def test_any_list_is_read_or_refused(rows: str) -> None:
    data = f"{HEADER}\n{rows}".encode()
    with suppress(LocalError):
        for row in table(data, what="list", columns=COLUMNS):
            assert min(region_of(row)) >= 0
            assert 0 <= track_of(row) < TRACKS_A_CLASS


@pytest.mark.skipif(not SIGNS.is_at_hand(), reason="needs GTSRB")
def test_the_real_set_has_tracks_of_every_kind_among_the_held_out() -> None:
    train, test = SIGNS.load("train"), SIGNS.load("test")

    assert test.labels.bincount()[0] == 270  # every stop of the official test set
    assert set(train.last(300).labels.tolist()) == {0, 1, 2}
    assert train.groups is not None
    assert train.boxes is not None
    assert train.boxes.min() >= 0
    assert train.boxes.max() <= SIDE
    share = train.labels.bincount() / len(train)
    held_out = train.last(300).labels.bincount() / 300
    assert (share - held_out).abs().max() < 0.03
