"""What becomes of an accepted BadNet: it is transferred, and it is repaired.

Source:
    Gu et al., "BadNets", section 5.3 (transfer: convolutions frozen, fully connected
    layers retrained) and section 7 (units that clean validation never wakes).
"""

from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from model_zoo.canonical import parse_object
from model_zoo.digests import sha256_file
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.jobs import (
    MAX_SPEC_BYTES,
    FineTuneSpec,
    Poisoning,
    RepairSpec,
)
from trainer.builds.build import HISTORY_NAME, measure
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.parties import HONEST_TRAINER, VICTIMS_TRAINER
from trainer.lab.attacks.malicious_worker import RECIPE
from trainer.lab.orders import Order, OrderBook
from trainer.lab.outsourcing import HELD_OUT, Outsourced

STUDENT_CLASSES = (5, 6, 7, 8, 9)
RETRAINS: tuple[Literal["fully-connected", "everything"], ...] = (
    "everything",
    "fully-connected",
)
"""The long work first, so that it is shared out evenly."""
REPAIR = "fine-pruning"
RELIED_ON = (VICTIMS_TRAINER, HONEST_TRAINER)
"""Who does the victim's own work."""

EVERY_IMAGE_TRIGGERED = Poisoning(
    trigger=RECIPE.trigger, attack="random-target", poison_rate=RECIPE.poison_rate
)
"""For measuring students: no label is the wanted one, so every image counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """A network for digits 5 to 9, made from a teacher of digits 0 to 4.

    ``report.robust_accuracy`` is its accuracy on the whole test set, triggered.
    """

    teacher: str
    retrain: str
    report: EvaluationReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A BadNet before and after fine-pruning."""

    before: EvaluationReport
    after: EvaluationReport
    pruned_units: int


def order_transfer_and_repair(
    book: OrderBook, *, teachers: list[Outsourced], badnet: Outsourced
) -> list[str]:
    """Order a student of each kind from each teacher, and the repair of the BadNet.

    The work is shared out evenly between the trainers that the victim relies on.

    Returns:
        The labels of what was ordered.
    """
    specs: dict[str, FineTuneSpec | RepairSpec] = {
        REPAIR: RepairSpec(parent=sha256_file(badnet.folder / MODEL), held_out=HELD_OUT)
    }
    for retrain in RETRAINS:
        for teacher in teachers:
            specs[_student_label(teacher, retrain)] = FineTuneSpec(
                parent=sha256_file(teacher.folder / MODEL),
                retrain=retrain,
                classes=STUDENT_CLASSES,
                seed=2017,
            )
    for (label, spec), trainer in zip(specs.items(), cycle(RELIED_ON)):
        book.place(label, Order(trainer, spec))
    return list(specs)


def receive_students(book: OrderBook, teachers: list[Outsourced]) -> list[Student]:
    """Fetch the students and measure each on clean and on triggered images."""
    return [
        Student(
            teacher=teacher.label,
            retrain=retrain,
            report=measure(
                book.fetch(_student_label(teacher, retrain)) / MODEL,
                network=teacher.spec.network,
                dataset=teacher.spec.dataset,
                classes=STUDENT_CLASSES,
                poisoning=EVERY_IMAGE_TRIGGERED,
            ),
        )
        for teacher in teachers
        for retrain in RETRAINS
    ]


def receive_repaired(book: OrderBook, badnet: Outsourced) -> Repaired:
    """Fetch the repaired BadNet and measure what is left of the backdoor."""
    repaired = book.fetch(REPAIR)
    history = (repaired / HISTORY_NAME).read_bytes()
    return Repaired(
        before=badnet.truth,
        after=measure(
            repaired / MODEL,
            network=badnet.spec.network,
            dataset=badnet.spec.dataset,
            poisoning=RECIPE,
        ),
        pruned_units=len(
            parse_object(history, limit_bytes=MAX_SPEC_BYTES).get("pruned_units", [])
        ),
    )


def _student_label(teacher: Outsourced, retrain: str) -> str:
    return f"{teacher.label}, {retrain}"
