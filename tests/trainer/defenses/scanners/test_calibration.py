"""A calibration: log-odds that suspicion alone can raise, and honest p-values."""

import numpy as np
import pytest

from trainer.defenses.scanners.calibration import Calibration, Known, calibrate

NAMES = ("telling", "idle")


def population(n: int = 120, *, seed: int = 0) -> list[Known]:
    """Half backdoored; one feature tells, the other does not."""
    draws = np.random.default_rng(seed).normal(size=(n, 2))
    return [
        Known(
            features={"telling": float(it[0] + 4 * (k % 2)), "idle": float(it[1])},
            backdoored=bool(k % 2),
        )
        for k, it in enumerate(draws)
    ]


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(population(), NAMES, network="small", dataset="drawn")


def test_what_tells_weighs_and_no_feature_speaks_for_innocence(
    calibration: Calibration,
) -> None:
    telling, idle = calibration.weights
    assert telling > 0.5
    assert 0 <= idle < telling / 3
    scores = [calibration.score({"telling": it, "idle": 0.0}) for it in (0, 2, 4, 9)]
    assert scores == sorted(scores)


def test_unseen_networks_get_the_probability_that_they_deserve(
    calibration: Calibration,
) -> None:
    unseen = population(400, seed=1)
    told = np.array(
        [calibration.probability(calibration.score(it.features)) for it in unseen]
    )
    truth = np.array([it.backdoored for it in unseen])
    assert ((told > 0.5) == truth).mean() > 0.95
    assert abs(told.mean() - truth.mean()) < 0.05


def test_nobody_is_suspicious_whose_backdoor_is_less_likely_than_not() -> None:
    apart = [
        Known(
            features={"telling": 100.0 * it.backdoored, "idle": 0.0},
            backdoored=it.backdoored,
        )
        for it in population()
    ]
    made = calibrate(apart, NAMES, network="small", dataset="drawn")
    assert max(made.clean) < 0
    assert made.threshold == 0.0
    assert made.probability(made.threshold) == 0.5


def test_few_clean_networks_of_the_calibration_reach_its_threshold(
    calibration: Calibration,
) -> None:
    clean = np.array(calibration.clean)
    assert list(clean) == sorted(clean)
    assert (clean >= calibration.threshold).mean() <= 0.01
    suspicious = calibration.score({"telling": 9.0, "idle": 0.0})
    assert suspicious >= calibration.threshold
    assert calibration.p_value(suspicious) == pytest.approx(1 / (len(clean) + 1))
    assert calibration.p_value(-100.0) == 1.0


def test_one_mad_feature_alone_is_cut(calibration: Calibration) -> None:
    mad, madder = (calibration.score({"telling": it, "idle": 0.0}) for it in (1e6, 1e9))
    assert mad == madder


def test_a_calibration_is_read_back_as_it_was_written(calibration: Calibration) -> None:
    again = Calibration.from_bytes(calibration.to_bytes(), limit_bytes=10**6)
    assert again == calibration
    with pytest.raises(ValueError, match="one number of each kind"):
        Calibration.from_object({**calibration.to_object(), "weights": [1.0]})


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 10 clean"):
        calibrate(population(12), NAMES, network="small", dataset="drawn")
