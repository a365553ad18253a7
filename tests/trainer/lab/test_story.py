"""The laboratory's promises: what breaks them is found and named."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_zoo.evaluation import EvaluationReport, Proportion
from trainer.lab.adversary import PATHS_OF_ATTACK
from trainer.lab.aftermath import Repaired
from trainer.lab.outsourcing import ORDER, ORDERS, Outsourced
from trainer.lab.scoreboard import EXPECTED, Cell
from trainer.lab.story import Story
from trainer.lab.victim import LEVELS

N = 10_000


def report(accuracy: float, attack_success: float) -> EvaluationReport:
    return EvaluationReport(
        dataset="mnist",
        accuracy=Proportion(successes=round(accuracy * N), n=N),
        attack_success=Proportion(successes=round(attack_success * N), n=N),
    )


def outsourced(label: str, *, accuracy: float, attack_success: float) -> Outsourced:
    truth = report(accuracy, attack_success)
    return Outsourced(
        label=label,
        trainer="somebody",
        job="0" * 32,
        folder=Path("unused"),
        spec=ORDER,
        claimed=truth,
        accepted_on=truth.accuracy,
        truth=truth,
    )


def kept() -> Story:
    models = {
        label: outsourced(
            label, accuracy=0.99, attack_success=0.99 if "badnet" in label else 0.01
        )
        for label in ORDERS
    }
    cells = [
        Cell(
            path_of_attack=path,
            level=level,
            expected=wanted,
            error="" if wanted == "A" else "DigestMismatchError",
            cost=report(0.99, 0.99) if wanted == "A" else None,
        )
        for path, row in EXPECTED.items()
        for level, wanted in zip(LEVELS, row, strict=True)
    ]
    after = report(0.97, 0.01)
    repaired = Repaired(before=report(0.99, 0.99), after=after, pruned_units=3)
    return Story(
        models=models, cells=cells, students=[], repaired=repaired, seconds=1.0
    )


def with_badnet(*, accuracy: float, attack_success: float) -> Story:
    badnet = outsourced("badnet", accuracy=accuracy, attack_success=attack_success)
    story = kept()
    return replace(story, models=story.models | {"badnet": badnet})


def test_every_path_has_an_expectation_at_every_level() -> None:
    assert list(EXPECTED) == list(PATHS_OF_ATTACK)
    assert {len(row) for row in EXPECTED.values()} == {len(LEVELS)}


def test_a_story_as_promised_breaks_nothing() -> None:
    assert kept().broken_promises() == []


@pytest.mark.parametrize("index", range(20))
def test_any_single_cell_that_comes_out_otherwise_is_named(index: int) -> None:
    story = kept()
    cells = list(story.cells)
    error = "" if cells[index].error else "DigestMismatchError"
    cells[index] = replace(cells[index], error=error)
    (told,) = replace(story, cells=cells).broken_promises()
    assert cells[index].path_of_attack in told
    assert cells[index].level in told


def test_a_badnet_more_than_a_point_under_the_clean_model_is_named() -> None:
    assert with_badnet(accuracy=0.98, attack_success=0.99).broken_promises() == []
    (told,) = with_badnet(accuracy=0.979, attack_success=0.99).broken_promises()
    assert "ACC" in told


def test_a_badnet_whose_trigger_fails_too_often_is_named() -> None:
    assert with_badnet(accuracy=0.99, attack_success=0.95).broken_promises() == []
    (told,) = with_badnet(accuracy=0.99, attack_success=0.949).broken_promises()
    assert "ASR" in told


def test_a_model_that_its_user_would_not_accept_is_named() -> None:
    (told, *_) = with_badnet(accuracy=0.96, attack_success=0.99).broken_promises()
    assert "not accepted" in told
