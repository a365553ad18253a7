"""The report: on members whose scores are known, it says what is so."""

import numpy as np
import pytest

from model_zoo.statements.scan import ScannerResult
from trainer.defenses.scanners import ENSEMBLE
from trainer.defenses.scanners.references import Numbers
from trainer.experiments.population.populations import POPULATIONS
from trainer.experiments.population.report import draw, summarise
from trainer.experiments.population.rows import Compared, Row, calibrated, compared
from trainer.experiments.population.scans import REFERENCE_MAP

TELLING = "universal"


def row(
    split: str,
    kind: str,
    tells: float,
    *,
    success: float | None = None,
    family: str = "",
    open_map: Numbers | None = None,
) -> Row:
    """Return a member that one scanner sees as suspicious as ``tells``, others not."""
    scanners = {
        name: ScannerResult(
            name=name,
            outcome="ran",
            score=tells if name == TELLING else 0.0,
            features={f"{name}-1": tells if name == TELLING else 0.0},
            passes=10,
            seconds=0.5,
        )
        for name in ENSEMBLE
        if name != REFERENCE_MAP
    }
    return Row(
        split=split,  # type: ignore[arg-type]
        kind=kind,
        family=family,
        attack="all-to-one" if family else "",
        accuracy=0.98,
        success=success,
        is_backdoored=success is not None and success >= 0.9,
        scanners=scanners,
        open_map=np.ones((10, 16)) if open_map is None else open_map,
    )


@pytest.fixture(scope="module")
def them(rows: list[Row]) -> Compared:
    return compared(rows, POPULATIONS["digits"])


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    draws = np.random.default_rng(0)
    made = []
    for split, family in (("calibration", "square"), ("test", "sine")):
        made += [row(split, "clean", it) for it in draws.normal(0, 0.3, 150)]
        made += [row(split, "one epoch", it) for it in draws.normal(0.2, 0.3, 100)]
        made += [
            row(split, "backdoored", it, success=0.99, family=family)
            for it in draws.normal(4, 0.5, 60)
        ]
    made += [row("test", "backdoored", 0.0, success=0.1, family="warp")] * 5
    made += [row("test", "backdoored", 9.0, success=0.6, family="warp")] * 5
    return made


def test_what_can_be_told_apart_is_met_with_n(them: Compared) -> None:
    claims = {it.what: it for it in summarise(them).claims}
    whole = claims["AUROC, odd clean networks among the negatives"]
    assert whole.ours is not None
    assert whole.ours.mean == pytest.approx(1.0, abs=0.002)
    assert (whole.ours.n, whole.verdict) == (60 + 250, "met")
    blind = claims["AUROC of the weights alone, odd ones among the negatives"]
    assert blind.ours is not None
    assert blind.ours.mean == pytest.approx(0.5, abs=1e-6)
    assert blind.verdict == "missed"
    found = claims["backdoored networks found at 1 % false alarms"]
    assert found.ours is not None
    assert found.ours.mean == pytest.approx(100)
    assert found.verdict == "not resolved"  # 60 of 60 leave 94 % possible


def test_attacks_that_did_not_take_are_neither_backdoored_nor_clean(
    them: Compared,
) -> None:
    families, _, _, failed = summarise(them).tables
    took = {line[0]: line[2:] for line in families.rows}
    assert took["sine"][0] == "60 of 60"
    assert took["warp"] == ("0 of 10", "none took")
    assert failed.rows[0] == ("ensemble", "0.00% [0.00%, 43.45%] (n = 5)")


def test_a_scanner_by_itself_is_told_with_its_cost(them: Compared) -> None:
    by = {line[0]: line[1:] for line in summarise(them).tables[2].rows}
    assert by[TELLING][0].startswith("1.000")
    assert by["pairs"][0].startswith("0.500")
    assert by[TELLING][2:] == ("10", "500")


def test_the_test_split_has_no_part_in_the_calibration(rows: list[Row]) -> None:
    others = [it for it in rows if it.split == "calibration"]
    assert calibrated(compared(rows, POPULATIONS["digits"])) == calibrated(
        compared(others, POPULATIONS["digits"])
    )


def test_the_curves_are_drawn(them: Compared) -> None:
    (figure,) = draw(them).values()
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert labels[0].startswith("ensemble, 1.000")
    assert labels[1] == "weights alone, 0.500"


def test_too_few_members_are_refused(rows: list[Row]) -> None:
    for some, told in ((rows[:5], "at least 10 clean"), (rows[:1], "at least 2 clean")):
        with pytest.raises(ValueError, match=told):
            summarise(compared(some, POPULATIONS["digits"]))


def test_no_member_is_compared_to_itself() -> None:
    draws = np.random.default_rng(0)
    own = [draws.normal(size=(10, 16)) for _ in range(30)]
    members = [row("calibration", "clean", 0.0, open_map=it) for it in own]
    members += [row("test", "clean", 0.0, open_map=it) for it in own]
    seen = compared(members, POPULATIONS["digits"]).rows
    known = [strange(it) for it in seen if it.split == "calibration"]
    unknown = [strange(it) for it in seen if it.split == "test"]
    assert min(known) > max(unknown)  # the same maps, beside references that have them


def strange(row: Row) -> float:
    return row.scanners[REFERENCE_MAP].features["strange-rms"]
