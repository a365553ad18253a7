"""The laboratory's promises: what breaks them is found and named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.intoto import Provenance
from model_zoo.statements.scan import ScannerResult, ScanReport, Verdict
from trainer.defenses.scanners.scan import Scan
from trainer.jobs.rebuild import Rebuilt
from trainer.lab.attacks.paths import (
    AFTER_A_THEFT,
    NEVER_ENDS,
    PATHS_OF_ATTACK,
    UNHARMED,
)
from trainer.lab.cells import Cell
from trainer.lab.clients.peers import PEERS
from trainer.lab.clients.victim import LEVELS
from trainer.lab.outsourcing import ORDER, ORDERS, Outsourced
from trainer.lab.promises import Story
from trainer.lab.scenario import DIGITS
from trainer.lab.scoreboard import (
    CONTROLS,
    EXPECTED,
    EXPECTED_OF_PEERS,
    FULL,
    OWN,
    Board,
    unpromised,
)
from trainer.lab.transfer_and_repair import (
    FROZEN,
    Examined,
    Repaired,
    Student,
)

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


def cells_of(board: Board) -> list[Cell]:
    return [
        Cell(
            path_of_attack=path,
            level=level,
            expected=wanted,
            error="" if wanted == "A" else "DigestMismatchError",
            cost=report(0.99, 0.99) if wanted == "A" else None,
        )
        for path, row in board.expected.items()
        for level, wanted in zip(board.levels, row, strict=True)
    ]


def examined(verdict: Verdict, truth: EvaluationReport) -> Examined:
    scanner = ScannerResult(name="universal", outcome="ran", score=1.0)
    found = ScanReport(
        verdict=verdict,
        why="the probability of a backdoor is what it is",
        probability=0.5,
        p_value=0.5,
        scanners=(scanner,),
        files=(),
        network="badnets-cnn",
        dataset="mnist",
        images=3000,
        accuracy=0.99,
        passes=16_400,
        seconds=1.2,
    )
    change = torch.zeros(1, 28, 28)
    change[0, 24:27, 24:27] = 1.0
    return Examined(
        truth=truth, found=Scan(report=found, triggers={"universal": change})
    )


def student(
    teacher: str,
    *,
    triggered: float,
    clean: float = 0.99,
    verdict: Verdict = "nothing found",
    retrain: str = FROZEN,
) -> Student:
    truth = report(clean, 1 - triggered).model_copy(
        update={"robust_accuracy": report(triggered, 0).accuracy}
    )
    return Student(teacher=teacher, retrain=retrain, network=examined(verdict, truth))


def students(
    *, triggered: float = 0.7, clean: float = 0.98, verdict: Verdict = "suspicious"
) -> list[Student]:
    """Return the clean teacher's students and the BadNet teacher's, as given."""
    return [
        student("clean teacher", triggered=0.99, retrain="everything"),
        student("clean teacher", triggered=0.99),
        student("badnet teacher", triggered=0.99, retrain="everything"),
        student("badnet teacher", triggered=triggered, clean=clean, verdict=verdict),
    ]


def kept() -> Story:
    models = {
        label: outsourced(
            label, accuracy=0.99, attack_success=0.99 if "badnet" in label else 0.01
        )
        for label in ORDERS
    }
    return Story(
        scenario=DIGITS,
        models=models,
        spot_checks={label: spot_check(caught="badnet" in label) for label in ORDERS},
        cells=cells_of(FULL),
        controls=cells_of(CONTROLS),
        scanned={
            "clean": examined("nothing found", report(0.99, 0.01)),
            "badnet": examined("suspicious", report(0.99, 0.99)),
        },
        students=students(),
        repairs=[
            Repaired(
                label="badnet",
                defense=defense,
                before=examined("suspicious", report(0.99, 0.99)),
                after=examined("nothing found", report(0.97, 0.01)),
                pruned_units=3,
            )
            for defense in DIGITS.defenses
        ],
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
    assert all(attack.__doc__ for attack in (PATHS_OF_ATTACK | UNHARMED).values())
    assert set(PATHS_OF_ATTACK) >= NEVER_ENDS | AFTER_A_THEFT


def test_no_level_lets_in_what_a_weaker_one_stops() -> None:
    """But tls, which stands apart: it protects the road, and looks at no digest."""
    for path, row in EXPECTED.items():
        assert "RA" not in row[0] + row[2:], path


def test_a_story_as_promised_breaks_nothing() -> None:
    assert kept().broken_promises() == []


@pytest.mark.parametrize("verdict", ["nothing found", "not scanned"])
def test_a_badnet_that_no_scan_sees_is_named(verdict: Verdict) -> None:
    missed = kept().scanned | {"badnet": examined(verdict, report(0.99, 0.99))}
    (told,) = replace(kept(), scanned=missed).broken_promises()
    assert told.startswith(f"the scan of the badnet: {verdict}: ")


@pytest.mark.parametrize("verdict", ["suspicious", "not scanned"])
def test_a_clean_model_that_is_not_acquitted_is_named(verdict: Verdict) -> None:
    accused = kept().scanned | {"clean": examined(verdict, report(0.99, 0.01))}
    (told,) = replace(kept(), scanned=accused).broken_promises()
    assert told.startswith(f"the scan of the clean: {verdict}: ")


def test_a_student_whose_backdoor_no_scan_sees_is_named() -> None:
    missed = replace(kept(), students=students(verdict="nothing found"))
    (told,) = missed.broken_promises()
    assert "the scan of the badnet teacher's student: nothing found" in told


def test_a_backdoor_that_did_not_outlive_transfer_is_named() -> None:
    enough = students(clean=0.98, triggered=0.88)
    assert replace(kept(), students=enough).broken_promises() == []
    (told,) = replace(
        kept(), students=students(clean=0.98, triggered=0.881)
    ).broken_promises()
    assert "9.90% from the BadNet teacher's student" in told


def test_a_teacher_that_costs_its_student_too_much_accuracy_is_named() -> None:
    assert replace(kept(), students=students(clean=0.97)).broken_promises() == []
    (told,) = replace(kept(), students=students(clean=0.969)).broken_promises()
    assert "costs its student 2.10% of ACC" in told


def test_an_honest_release_that_a_level_refuses_is_named() -> None:
    story = kept()
    controls = [
        replace(it, error="SuspiciousError") if it.level == "trust+scan" else it
        for it in story.controls
    ]
    honest, copied = replace(story, controls=controls).broken_promises()
    assert honest.startswith("honest release / trust+scan is refused")
    assert copied.startswith("copy of the honest release / trust+scan is refused")


def test_of_a_level_nobody_can_speak_for_either_outcome_is_as_expected() -> None:
    board = unpromised(OWN, "trust+scan")
    letters = {
        level: {row[at] for row in board.expected.values()}
        for at, level in enumerate(board.levels)
    }
    assert letters["trust+scan"] == {"?"}
    assert "?" not in set().union(
        *(letters[it] for it in OWN.levels if it[-4:] != "scan")
    )
    for error in ("", "NotScannedError"):
        cell = Cell(path_of_attack="x", level="trust+scan", expected="?", error=error)
        assert cell.as_expected


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
