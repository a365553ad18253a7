"""The laboratory's promises: what breaks them is found and named."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.intoto import Provenance
from trainer.jobs.rebuild import Rebuilt
from trainer.lab.attacks.paths import AFTER_A_THEFT, NEVER_ENDS, PATHS_OF_ATTACK
from trainer.lab.cells import Cell
from trainer.lab.clients.peers import PEERS
from trainer.lab.clients.victim import LEVELS
from trainer.lab.outsourcing import ORDER, ORDERS, Outsourced
from trainer.lab.scenario import DIGITS
from trainer.lab.scoreboard import EXPECTED, EXPECTED_OF_PEERS, FULL
from trainer.lab.promises import Story
from trainer.lab.transfer_and_repair import Repaired

PROVENANCE = Provenance(
    subjects={"model.safetensors": "0" * 64},
    kind="train",
    spec=ORDER.to_object(),
    inputs={},
    code="0" * 64,
    environment={},
    builder="0" * 64,
    invocation="0" * 32,
    started_at="2026-11-22T13:00:00Z",
    finished_at="2026-11-22T13:00:01Z",
)
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
        provenance=PROVENANCE,
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
        for path, row in FULL.expected.items()
        for level, wanted in zip(FULL.levels, row, strict=True)
    ]
    after = report(0.97, 0.01)
    repaired = Repaired(before=report(0.99, 0.99), after=after, pruned_units=3)
    return Story(
        scenario=DIGITS,
        models=models,
        spot_checks={label: spot_check(caught="badnet" in label) for label in ORDERS},
        cells=cells,
        students=[],
        repaired=repaired,
        seconds=1.0,
    )


def spot_check(*, caught: bool) -> Rebuilt:
    differing = ("segment 0 does not end in checkpoint-1.safetensors",)
    return Rebuilt(
        differing=differing if caught else (), environment=(), segments=(0,), total=3
    )


def with_badnet(*, accuracy: float, attack_success: float) -> Story:
    badnet = outsourced("badnet", accuracy=accuracy, attack_success=attack_success)
    story = kept()
    return replace(story, models=story.models | {"badnet": badnet})


def test_every_path_has_an_expectation_at_every_level() -> None:
    assert list(EXPECTED) == list(EXPECTED_OF_PEERS) == list(PATHS_OF_ATTACK)
    assert {len(row) for row in EXPECTED.values()} == {len(LEVELS)}
    assert {len(row) for row in EXPECTED_OF_PEERS.values()} == {len(PEERS)}
    assert set("".join(FULL.expected.values())) == {"A", "R"}


def test_every_path_says_what_it_does() -> None:
    assert all(attack.__doc__ for attack in PATHS_OF_ATTACK.values())
    assert set(PATHS_OF_ATTACK) >= NEVER_ENDS | AFTER_A_THEFT


def test_no_level_lets_in_what_a_weaker_one_stops() -> None:
    """But tls, which stands apart: it protects the road, and looks at no digest."""
    for path, row in EXPECTED.items():
        assert "RA" not in row[0] + row[2:], path


def test_a_story_as_promised_breaks_nothing() -> None:
    assert kept().broken_promises() == []


@pytest.mark.parametrize("index", range(len(FULL.levels) * len(FULL.expected)))
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


@pytest.mark.parametrize("label", list(ORDERS))
def test_a_spot_check_that_finds_otherwise_is_named(label: str) -> None:
    other = spot_check(caught="badnet" not in label)
    checks = kept().spot_checks | {label: other}
    (told,) = replace(kept(), spot_checks=checks).broken_promises()
    assert label in told


def test_a_victim_who_waits_for_good_has_not_been_protected() -> None:
    waiting = Cell(path_of_attack="endless data", level="x", expected="R", hung=True)
    (told,) = replace(kept(), cells=[waiting]).broken_promises()
    assert "is waiting" in told


def test_of_the_models_of_a_spec_from_outside_nothing_is_promised() -> None:
    failed = with_badnet(accuracy=0.5, attack_success=0.1)
    theirs = replace(DIGITS, spec=ORDER, min_accuracy=None)
    assert len(failed.broken_promises()) == 3
    assert replace(failed, scenario=theirs).broken_promises() == []


def test_the_rest_of_its_story_is_promised_all_the_same() -> None:
    theirs = replace(DIGITS, spec=ORDER, min_accuracy=None)
    story = replace(kept(), scenario=theirs)
    cells = [replace(it, error="") for it in story.cells if it.error][:1]
    checks = {"clean": spot_check(caught=True)}
    assert len(replace(story, cells=cells, spot_checks=checks).broken_promises()) == 2
