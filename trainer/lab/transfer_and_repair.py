"""What becomes of an accepted BadNet: it is transferred, and it is repaired.

Source:
    Gu et al., "BadNets", section 5.3 (transfer: convolutions frozen, fully connected
    layers retrained) and section 7 (units that clean validation never wakes).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

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
from trainer.lab.orders import Order, OrderBook
from trainer.lab.outsourcing import Outsourced
from trainer.lab.scenario import Scenario

REPAIR = "fine-pruning"
RELIED_ON = (VICTIMS_TRAINER, HONEST_TRAINER)
"""Who does the victim's own work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """A network that was fine-tuned from a teacher, for the scenario's classes.

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
    book: OrderBook, models: Mapping[str, Outsourced], *, scenario: Scenario
) -> list[str]:
    """Order a student of each kind from each teacher, and the repair of the BadNet.

    The work is shared out evenly between the trainers that the victim relies on.

    Returns:
        The labels of what was ordered.
    """
    order = scenario.order
    specs: dict[str, FineTuneSpec | RepairSpec] = {
        REPAIR: RepairSpec(
            parent=sha256_file(models["badnet"].folder / MODEL),
            network=order.network,
            dataset=order.dataset,
            classes=order.classes,
            held_out=scenario.given,
            precision=order.precision,
            max_seconds=order.max_seconds,
        )
    }
    for retrain in scenario.retrains:
        for teacher in scenario.teachers:
            specs[_student_label(teacher, retrain)] = FineTuneSpec(
                parent=sha256_file(models[teacher].folder / MODEL),
                network=order.network,
                dataset=order.dataset,
                retrain=retrain,
                classes=scenario.student_classes,
                schedule=order.schedule,
                precision=order.precision,
                max_seconds=order.max_seconds,
                seed=2017,
            )
    for (label, spec), trainer in zip(specs.items(), cycle(RELIED_ON)):
        book.place(label, Order(trainer, spec))
    return list(specs)


def receive_students(book: OrderBook, scenario: Scenario) -> list[Student]:
    """Fetch the students and measure each on clean and on triggered images."""
    # no label is the wanted one, so every image counts
    every_image = Poisoning(trigger=scenario.recipe.trigger, attack="random-target")
    return [
        Student(
            teacher=teacher,
            retrain=retrain,
            report=measure(
                book.fetch(_student_label(teacher, retrain)) / MODEL,
                network=scenario.order.network,
                dataset=scenario.order.dataset,
                classes=scenario.student_classes,
                poisoning=every_image,
            ),
        )
        for teacher in scenario.teachers
        for retrain in scenario.retrains
    ]


def receive_repaired(
    book: OrderBook, badnet: Outsourced, *, scenario: Scenario
) -> Repaired:
    """Fetch the repaired BadNet and measure what is left of the backdoor."""
    repaired = book.fetch(REPAIR)
    history = (repaired / HISTORY_NAME).read_bytes()
    return Repaired(
        before=badnet.truth,
        after=scenario.measure(repaired / MODEL),
        pruned_units=len(
            parse_object(history, limit_bytes=MAX_SPEC_BYTES).get("pruned_units", [])
        ),
    )


def _student_label(teacher: str, retrain: str) -> str:
    return f"{teacher}, {retrain}"
