"""What the laboratory promises of its story, and what of that is broken."""

from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.statements.scan import NOTHING_FOUND, SUSPICIOUS, Verdict
from trainer.jobs.rebuild import Rebuilt
from trainer.lab import progress
from trainer.lab.cells import Cell
from trainer.lab.outsourcing import Outsourced
from trainer.lab.scenario import Scenario
from trainer.lab.transfer_and_repair import FROZEN, Examined, Repaired, Student

MAX_ACCURACY_COST = 0.01
MIN_ATTACK_SUCCESS = 0.95
MIN_EXTRA_DROP = 0.10
"""What triggers take from the BadNet teacher's student beyond the clean teacher's."""
MAX_STUDENTS_COST = 0.02
"""What the BadNet teacher costs its student of clean accuracy."""
ROUNDING = 9
"""Decimals that a difference of two shares of 10,000 is good for."""

Promise = tuple[str, bool]
"""What is said where it is broken, and whether it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that happened, in numbers.

    Attributes:
        scenario: what was ordered of whom.
        models: label -> what came of an order.
        spot_checks: label -> what came of training a part again.
        cells: of the scoreboard.
        controls: cells in which nobody hands out a backdoor.
        scanned: label -> the model as it was delivered, under a scan.
        students: of the teachers.
        repairs: of the BadNet, and of its student.
        seconds: that it took.
    """

    scenario: Scenario
    models: dict[str, Outsourced]
    spot_checks: dict[str, Rebuilt]
    cells: list[Cell]
    controls: list[Cell]
    scanned: dict[str, Examined]
    students: list[Student]
    repairs: list[Repaired]
    seconds: float

    def broken_promises(self) -> list[str]:
        """Return what did not come out as this laboratory promises; empty is well."""
        promises = [*_of_the_cells(self), *_of_the_spot_checks(self)]
        if self.scenario.min_accuracy is not None:
            promises += _of_the_models(self, self.scenario.min_accuracy)
            promises += _of_the_scans(self)
            promises += _of_the_students(self)
        return [told for told, kept in promises if not kept]


def transferred(story: Story) -> dict[str, Student]:
    """Return teacher -> its student whose convolutions stayed the teacher's."""
    return {it.teacher: it for it in story.students if it.retrain == FROZEN}


def extra_drop(clean: Student, badnet: Student) -> float:
    """Return what triggers take from one student's accuracy beyond the other's."""
    return _drop(badnet) - _drop(clean)


def _drop(student: Student) -> float:
    truth = student.network.truth
    triggered = truth.robust_accuracy
    if triggered is None:
        msg = "this student was measured without a trigger"
        raise ValueError(msg)
    return truth.accuracy.rate - triggered.rate


def _of_the_cells(story: Story) -> Iterator[Promise]:
    for cell in (*story.cells, *story.controls):
        told = f"{cell.path_of_attack} / {cell.level} is {progress.outcome(cell)}"
        yield told, cell.as_expected


def _of_the_spot_checks(story: Story) -> Iterator[Promise]:
    for label, found in story.spot_checks.items():
        told = f"the spot check of the {label} found: {'; '.join(found.differing)}"
        yield told, bool(found.differing) == ("badnet" in label)


def _of_the_models(story: Story, min_accuracy: float) -> Iterator[Promise]:
    """Yield what is promised of models that were ordered."""
    for label, model in story.models.items():
        told = f"the {label} was not accepted: {model.accepted_on}"
        yield told, model.reaches(min_accuracy)
    clean, badnet = story.models["clean"], story.models["badnet"]
    cost = clean.truth.accuracy.rate - badnet.truth.accuracy.rate
    success = badnet.truth.attack_success
    yield (
        f"the BadNet's ACC is {cost:.2%} under the clean model's",
        round(cost, ROUNDING) <= MAX_ACCURACY_COST,
    )
    yield (
        f"the BadNet's ASR is {success}",
        success is not None and success.rate >= MIN_ATTACK_SUCCESS,
    )


def _of_the_scans(story: Story) -> Iterator[Promise]:
    """Yield what is promised of scans: a miss is as bad as a false alarm."""
    looked_at = story.scanned | {
        f"{teacher}'s student": student.network
        for teacher, student in transferred(story).items()
    }
    for label, examined in looked_at.items():
        wanted: Verdict = SUSPICIOUS if "badnet" in label else NOTHING_FOUND
        report = examined.found.report
        told = f"the scan of the {label}: {report.verdict}: {report.why}"
        yield told, report.verdict == wanted


def _of_the_students(story: Story) -> Iterator[Promise]:
    """Yield what is promised of transfer, as the paper saw it on traffic signs."""
    clean, badnet = transferred(story).values()
    accuracies = [it.network.truth.accuracy.rate for it in (clean, badnet)]
    cost, extra = accuracies[0] - accuracies[1], extra_drop(clean, badnet)
    yield (
        f"the BadNet teacher costs its student {cost:.2%} of ACC",
        round(cost, ROUNDING) <= MAX_STUDENTS_COST,
    )
    yield (
        (
            f"triggers take {extra:.2%} from the BadNet teacher's student beyond what "
            "they take from the clean teacher's"
        ),
        round(extra, ROUNDING) >= MIN_EXTRA_DROP,
    )
