"""Detection: areas, rates and calibration errors that are known by hand."""

import numpy as np
import pytest

from trainer.evaluation.detection import (
    auroc,
    expected_calibration_error,
    roc_curve,
    true_positives_at,
)


def test_the_area_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    found = auroc([3.0, 2.0, 1.0], [2.0, 0.0])
    assert found.value == pytest.approx((2 + 1.5 + 1) / 6)
    assert (found.positives, found.negatives) == (3, 2)
    assert auroc([1.0], [0.0]).value == 1.0
    assert auroc([0.0, 0.1], [1.0, 2.0]).value == 0.0


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0)
    truth = 0.7602  # of normals one apart: the normal distribution at 1 / sqrt(2)
    held = 0
    for _ in range(300):
        found = auroc(list(draws.normal(1, 1, 60)), list(draws.normal(0, 1, 60)))
        held += found.low <= truth <= found.high
    assert 0.91 < held / 300 <= 0.99


def test_detections_are_counted_above_all_but_the_allowed_false_alarms() -> None:
    negatives = [float(it) for it in range(100)]
    assert true_positives_at([98.5, 99.5, 97.0], negatives, false_alarms=0.01) == 2
    assert true_positives_at([98.5, 99.5, 97.0], negatives, false_alarms=0.0) == 1


def test_probabilities_that_keep_their_word_have_no_error() -> None:
    told = [0.25] * 4 + [0.75] * 4
    truth = [True, False, False, False, True, True, True, False]
    assert expected_calibration_error(told, truth) == 0
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1
    assert expected_calibration_error([0.9] * 10, [True] * 5 + [False] * 5) == (
        pytest.approx(0.4)
    )


def test_the_curve_goes_from_nothing_to_everything_and_ties_move_together() -> None:
    alarms, hits = roc_curve([2.0, 1.0], [1.0, 0.0])
    assert alarms.tolist() == [0, 0, 0.5, 1]
    assert hits.tolist() == [0, 0.5, 1, 1]


def test_an_area_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no networks"):
        auroc([], [1.0])
