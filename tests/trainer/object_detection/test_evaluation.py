"""Cases whose answer is known by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainer.object_detection.evaluation import (
    MISSED,
    Detections,
    answers,
    average_precision,
    mean_precision,
    overlaps_of,
    truth,
)

STOP, LIMIT = 0, 1
HERE = (0.0, 0.0, 10.0, 10.0)
NEARLY = (0.0, 0.0, 10.0, 8.0)
"""80 % of HERE."""
HALF = (0.0, 0.0, 10.0, 5.0)
LESS = (0.0, 0.0, 10.0, 4.9)
THERE = (50.0, 50.0, 60.0, 60.0)


def boxes(*given: tuple[float, ...]) -> Tensor:
    return torch.tensor(given).view(-1, 4)


def detections(*given: tuple[tuple[float, ...], int, float]) -> Detections:
    return Detections(
        boxes=boxes(*(box for box, _, _ in given)),
        labels=torch.tensor([label for _, label, _ in given], dtype=torch.int64),
        scores=torch.tensor([score for _, _, score in given]),
    )


def signs(*given: tuple[tuple[float, ...], int]) -> Detections:
    labels = torch.tensor([label for _, label in given], dtype=torch.int64)
    return truth(boxes(*(box for box, _ in given)), labels)


def test_overlaps_are_what_is_common_to_what_either_covers() -> None:
    others = boxes(HERE, (5.0, 0.0, 15.0, 10.0), THERE, HALF)
    found = overlaps_of(boxes(HERE), others)
    assert found.tolist() == [[1.0, pytest.approx(1 / 3), 0.0, 0.5]]


@given(st.lists(st.integers(0, 20), min_size=4, max_size=4))
def test_overlaps_are_shares_and_the_same_both_ways(corners: list[int]) -> None:
    left, top, wide, high = corners
    one = boxes((left, top, left + wide + 1, top + high + 1))
    there, back = overlaps_of(one, boxes(HERE)), overlaps_of(boxes(HERE), one)
    assert there.item() == back.item()
    assert 0 <= there.item() <= 1


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        pytest.param([(NEARLY, LIMIT, 0.3)], LIMIT, id="another kind"),
        pytest.param(
            [(HERE, LIMIT, 0.3), (NEARLY, STOP, 0.9)],
            STOP,
            id="the surest, not nearest",
        ),
        pytest.param([(HALF, STOP, 0.9)], STOP, id="half is enough"),
        pytest.param([(LESS, STOP, 0.9)], MISSED, id="less is not"),
        pytest.param([(THERE, STOP, 0.9)], MISSED, id="elsewhere"),
        pytest.param([], MISSED, id="nothing"),
    ],
)
def test_a_sign_is_answered_by_the_surest_detection_that_overlaps_it(
    found: list[tuple[tuple[float, ...], int, float]], answer: int
) -> None:
    assert answers(detections(*found), boxes(HERE)).tolist() == [answer]


def test_each_sign_has_an_answer_of_its_own() -> None:
    found = detections((HERE, LIMIT, 0.5), (THERE, STOP, 0.4))
    assert answers(found, boxes(THERE, HERE)).tolist() == [STOP, LIMIT]
    assert answers(found, boxes()).tolist() == []


def test_detections_below_a_score_do_not_count() -> None:
    found = detections((HERE, STOP, 0.4), (THERE, STOP, 0.6))
    assert found.scored(0.5).boxes.tolist() == [list(THERE)]


@pytest.mark.parametrize(
    ("found", "precision"),
    [
        pytest.param([(HERE, STOP, 0.9), (THERE, STOP, 0.8)], 1.0, id="both"),
        pytest.param([(HERE, STOP, 0.9)], 0.5, id="one of two"),
        # right, wrong, right: 1 up to half of the signs, then 2 of 3
        pytest.param(
            [
                (HERE, STOP, 0.9),
                ((30.0, 0.0, 40.0, 9.0), STOP, 0.8),
                (THERE, STOP, 0.7),
            ],
            0.5 * 1 + 0.5 * 2 / 3,
            id="a false alarm between",
        ),
        # wrong, right, right: 2 of 3 is still reached at every recall
        pytest.param(
            [
                ((30.0, 0.0, 40.0, 9.0), STOP, 0.9),
                (HERE, STOP, 0.8),
                (THERE, STOP, 0.7),
            ],
            2 / 3,
            id="a false alarm first",
        ),
        pytest.param(
            [(HERE, STOP, 0.9), (NEARLY, STOP, 0.8), (THERE, STOP, 0.7)],
            0.5 * 1 + 0.5 * 2 / 3,
            id="a sign found twice counts once",
        ),
        pytest.param([(HERE, LIMIT, 0.9), (THERE, LIMIT, 0.8)], 0.0, id="another kind"),
        pytest.param([(LESS, STOP, 0.9), (THERE, STOP, 0.8)], 0.25, id="too far off"),
        pytest.param([], 0.0, id="nothing"),
    ],
)
def test_average_precision_is_the_area_under_precision_over_recall(
    found: list[tuple[tuple[float, ...], int, float]], precision: float
) -> None:
    true = [signs((HERE, STOP), (THERE, STOP))]
    mine = average_precision([detections(*found)], true, kind=STOP)
    assert mine == pytest.approx(precision)


def test_detections_of_all_photographs_are_ranked_together() -> None:
    found = [detections((HERE, STOP, 0.6)), detections((HERE, STOP, 0.9))]
    true = [signs((HERE, STOP)), signs((THERE, STOP))]
    assert average_precision(found, true, kind=STOP) == pytest.approx(0.25)


def test_kinds_that_are_nowhere_have_no_precision_and_no_part_in_the_mean() -> None:
    found = [detections((HERE, STOP, 0.9), (THERE, LIMIT, 0.9))]
    true = [signs((HERE, STOP), ((30.0, 30.0, 40.0, 40.0), 2))]
    assert average_precision(found, true, kind=LIMIT) is None
    each = [average_precision(found, true, kind=kind) for kind in range(3)]
    assert each == [1.0, None, 0.0]
    assert mean_precision(each) == 0.5
    assert mean_precision([None]) is None
