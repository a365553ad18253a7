import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.statements.evaluation import EvaluationReport, Proportion


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(
    successes: int, n: int, low: float, high: float
) -> None:
    """The examples of Newcombe, Statistics in Medicine 17 (1998), table I."""
    found = Proportion(successes=successes, n=n).wilson()
    assert found == pytest.approx((low, high), abs=5e-5)


@given(
    st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
)
def test_the_interval_holds_the_rate_and_stays_inside_zero_and_one(
    drawn: tuple[int, int],
) -> None:
    share = Proportion(successes=drawn[0], n=drawn[1])
    low, high = share.wilson()
    assert 0 <= low <= share.rate <= high <= 1


@pytest.mark.parametrize(("successes", "n"), [(2, 1), (-1, 1), (0, 0)])
def test_what_is_no_share_cannot_be_built(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"successes|greater than"):
        Proportion(successes=successes, n=n)


def test_a_share_is_printed_with_its_interval_and_n() -> None:
    assert str(Proportion(successes=9_900, n=10_000)) == (
        "99.00% [98.79%, 99.18%] (n = 10,000)"
    )


def test_a_report_written_and_read_is_the_same_report() -> None:
    report = EvaluationReport(dataset="mnist", accuracy=Proportion(successes=1, n=2))
    assert EvaluationReport.from_object(report.to_object()) == report
