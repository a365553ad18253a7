"""Means, intervals and rank correlations, held against numbers worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.intervals import difference, estimate, spearman

NUMBERS = st.floats(-100, 100).map(lambda it: round(it, 3))


def half_width(values: list[float]) -> float:
    ours = estimate(values)
    assert ours.low is not None
    assert ours.high is not None
    assert ours.high - ours.mean == pytest.approx(ours.mean - ours.low, abs=1e-9)
    return ours.high - ours.mean


@pytest.mark.parametrize(
    ("values", "by_hand"),
    [
        pytest.param([0, 2], 12.706 * math.sqrt(2) / math.sqrt(2), id="2 seeds"),
        pytest.param([1, 2, 3], 4.303 * 1 / math.sqrt(3), id="3 seeds"),
        pytest.param([1, 2, 3, 4, 5], 2.776 * math.sqrt(2.5 / 5), id="5 seeds"),
        pytest.param([0, 1] * 5 + [0.5], 2.228 * 0.5 / math.sqrt(11), id="11 seeds"),
    ],
)
def test_the_interval_is_students(values: list[float], by_hand: float) -> None:
    assert half_width(values) == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # a printed table of Student's t, 0.975
    [(20, 2.086), (21, 2.080), (25, 2.060), (30, 2.042), (60, 2.000), (120, 1.980)],
)
def test_many_seeds_have_students_quantile_too(freedom: int, quantile: float) -> None:
    n = freedom + 1
    values = [float(it % 2) for it in range(n)]
    mean = sum(values) / n
    deviation = math.sqrt(sum((it - mean) ** 2 for it in values) / freedom)
    t = half_width(values) / (deviation / math.sqrt(n))
    assert t == pytest.approx(quantile, abs=6e-4)


def test_one_seed_has_no_interval_and_says_so() -> None:
    ours = estimate([0.5], n=10_000)
    assert (ours.low, ours.high) == (None, None)
    assert str(ours) == "0.50 (1 seed, n = 10,000)"
    assert estimate([1, 2, 3]).text("%") == "2.00 % [-0.48, 4.48] (3 seeds)"
    assert estimate([0.0054, 0.0058]).text() == "0.006 [0.003, 0.008] (2 seeds)"
    near_zero = estimate([-0.044, -0.033, -0.020]).text()
    assert near_zero == "-0.032 [-0.062, -0.002] (3 seeds)"
    assert estimate([0.0]).text() == "0.00 (1 seed)"


@given(st.lists(NUMBERS, min_size=2, max_size=40), NUMBERS)
def test_an_interval_moves_with_its_values(values: list[float], by: float) -> None:
    ours, moved = estimate(values), estimate([it + by for it in values])
    assert ours.low is not None
    assert ours.high is not None
    assert ours.low <= ours.mean <= ours.high
    assert moved.mean == pytest.approx(ours.mean + by, abs=1e-6)
    assert half_width([it + by for it in values]) == pytest.approx(
        half_width(values), abs=1e-6
    )


@pytest.mark.parametrize(
    ("xs", "ys", "rho"),
    [
        pytest.param([1, 2, 3], [10, 20, 30], 1.0, id="rising"),
        pytest.param([1, 2, 3], [5, 4, -9], -1.0, id="falling"),
        pytest.param([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8, id="1 - 6 * 4 / 120"),
        pytest.param([1, 2, 3], [1, 1, 2], math.sqrt(3) / 2, id="a tie"),
        pytest.param([1, 2, 3], [4, 4, 4], 0.0, id="no order to follow"),
    ],
)
def test_spearman_is_what_it_is_by_hand(
    xs: list[float], ys: list[float], rho: float
) -> None:
    assert spearman(xs, ys) == pytest.approx(rho)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=20))
def test_spearman_looks_at_the_order_only(pairs: list[tuple[float, float]]) -> None:
    xs, ys = (list(side) for side in zip(*pairs, strict=True))
    rho = spearman(xs, ys)
    assert -1 - 1e-9 <= rho <= 1 + 1e-9
    assert spearman([math.exp(it / 50) for it in xs], ys) == pytest.approx(rho)
    assert spearman([-it for it in xs], ys) == pytest.approx(-rho)


def test_a_difference_is_taken_within_each_seed() -> None:
    ours = difference([10.0, 20.0, 30.0], [9.0, 19.0, 29.0], n=7)
    assert (ours.mean, ours.low, ours.high, ours.seeds, ours.n) == (1, 1, 1, 3, 7)
    with pytest.raises(ValueError, match="shorter"):
        difference([1.0, 2.0], [1.0])
