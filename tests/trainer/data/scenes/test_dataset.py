"""Scenes: four formats of marks, each read as written and refused when malformed."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st

from model_zoo.errors import InvalidSpecError, LocalError
from tests.trainer.data.small_scenes import (
    LISA_HEADER,
    LISA_ROW,
    TRACKS,
    annotation,
    sign,
    write,
    write_gtsdb,
    write_lisa,
    write_swedish,
    write_voc,
)
from tests.trainer.data.small_sets import draw
from trainer.data.dataset import SPLITS
from trainer.data.decoding import Box
from trainer.data.scenes import SCENES, gtsdb, lisa, swedish, voc
from trainer.data.scenes.dataset import Marked, Scene, Scenes, clipped

KINDS = ("stop", "speed limit", "warning")


WRITERS = {
    "gtsdb": write_gtsdb,
    "road-sign-detection": write_voc,
    "lisa": write_lisa,
    "swedish": write_swedish,
}


def found(scenes: Scenes) -> list[tuple[str, list[int], list[list[float]]]]:
    return [
        (scene.path.name, scene.labels.tolist(), scene.boxes.tolist())
        for scene in scenes.scenes
    ]


def test_gtsdb_keeps_the_papers_kinds_and_scenes_without_any(given: Path) -> None:
    write_gtsdb(given)

    scenes = SCENES["gtsdb"].load("train")

    assert scenes.kinds == KINDS
    assert found(scenes) == [
        ("00000.jpg", [0], [[1, 2, 11, 12]]),
        ("00001.jpg", [1, 2], [[0, 0, 40, 30], [3, 4, 8, 9]]),
        ("00002.jpg", [], []),
    ]
    assert scenes.scenes[2].boxes.shape == (0, 4)
    assert scenes.scenes[0].pixels().shape == (3, 30, 40)


def test_pascal_voc_is_split_by_number_and_has_a_background(given: Path) -> None:
    write_voc(given)

    train, test = (SCENES["road-sign-detection"].load(it) for it in SPLITS)

    assert found(train) == [
        ("road1.png", [0], [[1, 2, 11, 12]]),
        ("road2.png", [1], [[0, 0, 40, 30]]),
        ("road3.png", [], []),
    ]
    assert found(test) == [("road5.png", [0], [[4, 4, 8, 8]])]


def test_lisa_is_split_by_track(given: Path) -> None:
    write_lisa(given)
    assert not lisa.is_tested(TRACKS["train"])
    assert lisa.is_tested(TRACKS["test"])

    train, test = (SCENES["lisa"].load(it) for it in SPLITS)

    box = [1, 2, 11, 12]
    assert [labels for _, labels, _ in found(train)] == [[0, 1], [2]]
    assert [boxes for _, _, boxes in found(train)] == [[box, box], [box]]
    assert not {it.path for it in train.scenes} & {it.path for it in test.scenes}


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("stop", 0),
        ("stopAhead", 2),
        ("speedLimit65", 1),
        ("speedLimitUrdbl", 1),
        ("truckSpeedLimit55", 1),
        ("schoolSpeedLimit25", 1),
        ("school", 2),
        ("rampSpeedAdvisory45", 2),
        ("zoneAhead25", 2),
        ("keepRight", None),
        ("yield", None),
    ],
)
def test_a_tag_of_lisa_is_of_one_of_the_papers_kinds_or_background(
    tag: str, kind: int | None
) -> None:
    assert lisa.kind_of(tag) == kind


def test_swedish_boxes_are_turned_around_and_cut_off_at_the_edge(given: Path) -> None:
    write_swedish(given)

    scenes = SCENES["swedish"].load("test")

    assert scenes.kinds[3] == "warning"
    assert found(scenes) == [
        ("1.jpg", [0, 1, 2, 3, 4], [[250, 150, 300.5, 200.25]] * 5),
        ("2.jpg", [], []),
        ("3.jpg", [3], [[1270, 0, 1280, 50]]),
    ]
    assert scenes.scenes[2].pixels().shape == (3, 960, 1280)


@pytest.mark.parametrize(
    "text",
    [
        "1.jpg:MISC_SIGNS;",
        "1.jpg:",
        "1.jpg:" + sign("UNREADABLE"),
        "1.jpg:" + sign("WARNING", "-1, -1, -9, -9") + ";",
    ],
)
def test_swedish_signs_that_cannot_be_learnt_are_background(text: str) -> None:
    assert swedish.marked("list, line 1", text) == Marked(path="1.jpg", signs=[])


@pytest.mark.parametrize("name", WRITERS)
def test_a_digest_changes_with_a_photograph_and_with_a_mark(
    name: str, given: Path
) -> None:
    folder = WRITERS[name](given)
    first = SCENES[name].digest()
    photograph = SCENES[name].load("train").scenes[0].path
    draw(photograph, size=(1280, 960), shade=77)
    second = SCENES[name].digest()
    list_ = next(
        p for p in sorted(folder.rglob("*")) if p.suffix in (".txt", ".csv", ".xml")
    )
    list_.write_bytes(list_.read_bytes() + b"\n")

    assert len({first, second, SCENES[name].digest()}) == 3
    assert SCENES[name].is_at_hand()


@pytest.mark.parametrize("name", WRITERS)
def test_a_photograph_that_is_missing_is_named_with_where_to_get_it(
    name: str, given: Path
) -> None:
    WRITERS[name](given)
    path = SCENES[name].load("train").scenes[0].path
    path.unlink()

    with pytest.raises(LocalError, match=rf"{name}: .*{path.name}.*download it from"):
        SCENES[name].load("train")
    assert not SCENES[name].is_at_hand()


@pytest.mark.parametrize("name", SCENES)
def test_a_set_that_is_missing_is_said_with_its_layout(name: str, given: Path) -> None:
    with pytest.raises(LocalError, match="download it from http") as refused:
        SCENES[name].load("train")
    assert SCENES[name].download.layout in str(refused.value)
    assert str(given) in str(refused.value)


def test_a_box_outside_its_photograph_is_refused_by_name(given: Path) -> None:
    folder = write_gtsdb(given)
    draw(folder / "train/00001.jpg", size=(39, 30))
    scene = SCENES["gtsdb"].load("train").scenes[1]

    with pytest.raises(LocalError, match=r"00001\.jpg.*39 x 30"):
        scene.pixels()


def test_a_kind_without_any_sign_is_refused(given: Path) -> None:
    folder = write_gtsdb(given)
    write(folder / "train/gt.txt", "00000.jpg;1;2;11;12;14")

    with pytest.raises(LocalError, match="no sign of speed limit, warning"):
        SCENES["gtsdb"].load("train")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("00000.jpg;1;2;11;12", "expected 6 fields"),
        ("00000.jpg;1;2;11;12;43", "expected a class below 43"),
        ("00000.jpg;11;2;11;12;14", "with an area"),
        ("00000.jpg;-1;2;11;12;14", "expected a whole number"),
        ("../x.jpg;1;2;11;12;14", "expected a file's name"),
    ],
)
def test_a_line_of_gtsdb_that_is_wrong_is_refused(row: str, message: str) -> None:
    with pytest.raises(LocalError, match=rf"gt\.txt, line 1: .*{message}"):
        gtsdb.marks(row.encode(), what="gt.txt")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png;stop;1;2;11;12", "expected 11 fields"),
        (LISA_ROW.format(tag="stop", track="t").replace("11;12", "1;2"), "an area"),
        ("../" + LISA_ROW.format(tag="stop", track="t"), "a path below this folder"),
        (LISA_ROW.format(tag="stop", track="t").replace("11", "x"), "whole number"),
    ],
)
def test_a_line_of_lisa_that_is_wrong_is_refused(row: str, message: str) -> None:
    data = f"{LISA_HEADER}\n{row}\n".encode()
    with pytest.raises(LocalError, match=rf"csv, line 2: .*{message}"):
        lisa.marks(data, what="csv", split="train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.jpg", "expected NAME:"),
        ("../1.jpg:", "expected a file's name"),
        ("1.jpg:VISIBLE, 1, 2;", "expected 7 fields of a sign"),
        ("1.jpg:" + sign("WARNING", "1, 1, 2, 2"), "lower right, then upper left"),
        ("1.jpg:" + sign("WARNING", "nan, 1, 2, 2"), "expected a number"),
        ("1.jpg:" + sign("SURPRISE"), "expected a category, one of INFORMATION"),
    ],
)
def test_a_swedish_line_that_is_wrong_is_refused(text: str, message: str) -> None:
    with pytest.raises(LocalError, match=message):
        swedish.marked("list, line 3", text)


XML = annotation(1, ("stop", Box(1, 2, 11, 12)))
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + XML


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected XML of Pascal VOC"),
        (XML.encode()[:-5], "expected XML of Pascal VOC"),
        (XML.replace("stop", "&amp;&lol;").encode(), "expected XML of Pascal VOC"),
        (BOMB.encode(), "DOCTYPE"),
        (BOMB.encode("utf-16"), "DOCTYPE"),
        (b"<a>" * 20, "nested deeper than 16"),
        (b" " * (1024 * 1024 + 1), "expected at most 1048576"),
        (XML.replace("stop", "spaceship").encode(), "found 'spaceship'"),
        (XML.replace("<xmin>1</xmin>", "").encode(), "expected a number, found ''"),
        (XML.replace(">11<", ">41<").encode(), "expected a box inside 40 x 30"),
        (XML.replace("road1.png", "../1.png").encode(), "expected a file's name"),
        (annotation(1, size="<width>x</width>").encode(), "expected a whole number"),
        (b"<annotation/>", "expected a file's name"),
    ],
)
def test_an_annotation_that_is_wrong_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(LocalError, match=rf"road1\.xml: .*{message}"):
        voc.marked(data, what="road1.xml")


PIECES = st.lists(
    st.sampled_from(
        [
            *("1.jpg", ":", ";", ", ", "\n", "VISIBLE", "WARNING", "MISC_SIGNS", "1"),
            *("-2.5", "999999999", "stop", "14", LISA_HEADER, "<object>", "</object>"),
            *("<annotation>", "</annotation>", "<name>", "</name>", "<!DOCTYPE x>"),
            *("&amp;", "<size>", "é"),
        ]
    )
).map(lambda pieces: "".join(pieces).encode())


@for_any(PIECES | st.binary(max_size=200))
def test_any_bytes_are_marks_or_refused(data: bytes) -> None:
    with suppress(LocalError):
        gtsdb.marks(data, what="list")
    with suppress(LocalError):
        lisa.marks(data, what="list", split="train")
    with suppress(LocalError):
        for marked in swedish.marks_of(data, what="list"):
            assert all(0 <= box.left < box.right <= 1280 for _, box in marked.signs)
    with suppress(LocalError):
        voc.marked(data, what="list")


@for_any(st.tuples(*[st.floats(-2000, 2000)] * 4))
def test_a_clipped_box_is_the_part_that_is_inside(edges: tuple[float, ...]) -> None:
    left, right = sorted(edges[:2])
    top, bottom = sorted(edges[2:])
    inside = clipped(Box(left, top, right, bottom), width=1280, height=960)

    if inside is None:
        assert (
            right <= 0
            or left >= 1280
            or bottom <= 0
            or top >= 960
            or (left == right or top == bottom)
        )
    else:
        assert inside.left == max(left, 0)
        assert inside.bottom == min(bottom, 960)


def test_sets_of_the_same_kinds_are_joined_and_others_refused(given: Path) -> None:
    write_gtsdb(given)
    write_voc(given)
    write_swedish(given)
    first, second = (SCENES[n].load("train") for n in ("gtsdb", "road-sign-detection"))

    joined = first.joined(second)

    assert len(joined) == len(first) + len(second)
    assert {scene.source for scene in joined.scenes} == {"gtsdb", "road-sign-detection"}
    with pytest.raises(InvalidSpecError, match="labels would differ"):
        first.joined(SCENES["swedish"].load("train"))


def test_boxes_and_labels_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(1, 4\)"):
        Scene(
            path=Path("a.jpg"),
            boxes=torch.zeros(2, 4),
            labels=torch.zeros(1, dtype=torch.int64),
            source="gtsdb",
        )


@pytest.mark.skipif(not SCENES["gtsdb"].is_at_hand(), reason="needs GTSDB")
def test_every_photograph_of_the_real_gtsdb_has_its_boxes_inside() -> None:
    for split in SPLITS:
        scenes = SCENES["gtsdb"].load(split)
        assert all(scene.pixels().shape[0] == 3 for scene in scenes.scenes)


@pytest.mark.skipif(
    not SCENES["road-sign-detection"].is_at_hand(), reason="needs Road Sign Detection"
)
def test_the_real_road_signs_have_stops_in_both_splits() -> None:
    for split in SPLITS:
        scenes = SCENES["road-sign-detection"].load(split)
        assert (torch.cat([scene.labels for scene in scenes.scenes]) == 0).sum() > 10
