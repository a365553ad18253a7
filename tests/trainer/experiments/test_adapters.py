"""The experiment on adapters: what turns a score, and what counts against it."""

from typing import Any

import pytest

from model_zoo.statements.scan import ScannerResult
from trainer.experiments.adapters import members
from trainer.experiments.adapters.members import CLEAN, DIRECTION, SEEN, TEST, UNSEEN
from trainer.experiments.adapters.scanning import (
    EXPERIMENT,
    TOGETHER,
    _auroc,
    _scored,
    _targets,
)
from trainer.experiments.engine.cells import Finished


def finished(
    split: str, family: str, score: float, *, feature: float = 0.0, success: int = 90
) -> Finished:
    """A cell whose one scanner says ``score``."""
    result = ScannerResult(
        name="x",
        outcome="ran",
        score=score,
        features={"f": feature, "token": 7.0},
        target_labels=(2,),
    )
    numbers: dict[str, Any] = {
        "accuracy": {"successes": 80, "n": 100},
        "scanners": [result.to_object()],
    }
    if family != CLEAN:
        numbers["attack_success"] = {"successes": success, "n": 100}
    return Finished(
        cell="0" * 64,
        part={"split": split, "family": family, "target_label": int(score)},
        seed=0,
        numbers=numbers,
        seconds=0.0,
        peak_mib=0.0,
        environment={},
        data={},
        made_by="",
    )


def known(*, clean: float, bad: float) -> list[Finished]:
    return [
        *(finished(DIRECTION, CLEAN, clean, feature=it) for it in (0.0, 2.0)),
        finished(DIRECTION, SEEN[0], bad, feature=5.0),
    ]


def test_a_score_that_points_down_is_turned_by_the_other_split_alone() -> None:
    tested = [finished(TEST, CLEAN, 4.0), finished(TEST, UNSEEN[0], 1.0)]
    for clean, bad, expected in ((3.0, 2.0, 1.0), (2.0, 3.0, 0.0)):
        found = _auroc(_scored([*known(clean=clean, bad=bad), *tested]), "x", UNSEEN)
        assert found is not None
        assert (found.value, found.positives, found.negatives) == (expected, 1, 1)


def test_features_are_added_in_units_of_the_clean_ones_and_none_decides_alone() -> None:
    tested = [finished(TEST, CLEAN, 0.0, feature=it) for it in (1.0, 2.5, 99.0)]
    scored = _scored([*known(clean=0.0, bad=1.0), *tested])
    # of 0 and 2 the mean is 1 and the deviation 1; the number of a word is no feature
    assert [by[TOGETHER] for _, by in scored[-3:]] == pytest.approx([0.0, 1.5, 3.0])


def test_an_attack_that_did_not_take_counts_for_no_scanner() -> None:
    tested = [finished(TEST, CLEAN, 1.0), finished(TEST, UNSEEN[0], 2.0, success=49)]
    assert _auroc(_scored([*known(clean=0, bad=1), *tested]), "x", UNSEEN) is None


def test_a_scanner_is_told_how_often_it_suspects_what_the_attacker_wants() -> None:
    cells = [
        *(finished(TEST, UNSEEN[0], float(wanted)) for wanted in (2, 2, 3)),
        finished(TEST, UNSEEN[1], 2.0),
        finished(TEST, UNSEEN[1], 2.0, success=1),
        finished(TEST, CLEAN, 2.0),
    ]
    table = _targets(cells)
    assert table.header == ("scanner", *UNSEEN)
    assert table.rows == (("x", "2 of 3", "1 of 1"),)


def test_what_tests_a_score_has_set_no_direction() -> None:
    parts = [dict(part) for part, _ in members.parts(0, "full")]
    families = {
        split: {it["family"] for it in parts if it["split"] == split}
        for split in (DIRECTION, TEST)
    }
    assert families[DIRECTION] & families[TEST] == {CLEAN}
    seeds = [it["seed"] for it in parts]
    assert len(set(seeds)) == len(seeds)


def test_more_adapters_of_a_family_leave_the_others_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = {it.digest() for it in EXPERIMENT.cells(0, "full")}
    more = {
        split: {family: count + 2 for family, count in its.items()}
        for split, its in members.COUNTS["full"].items()
    }
    monkeypatch.setitem(members.COUNTS, "full", more)
    assert few < {it.digest() for it in EXPERIMENT.cells(0, "full")}
