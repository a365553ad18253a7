"""What becomes of an accepted BadNet: it is transferred, scanned and repaired.

Source:
    Gu et al., "BadNets", section 5.3 (transfer: convolutions frozen, fully connected
    layers retrained) and section 7 (units that clean validation never wakes).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

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
from trainer.defenses.scanners.scan import Scan
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.exchanges import Look
from trainer.lab.actors.parties import HONEST_TRAINER, VICTIMS_TRAINER
from trainer.lab.orders import Order, OrderBook
from trainer.lab.outsourcing import Outsourced
from trainer.lab.scenario import Defense, Scenario

Measure = Callable[[Path], EvaluationReport]
UNLEARNING: Defense = "unlearning"
"""The repair that meets the goal on digits."""
RELIED_ON = (VICTIMS_TRAINER, HONEST_TRAINER)
"""Who does the victim's own work."""
FROZEN = "fully-connected"
"""What learns where the convolutions stay as the teacher's maker left them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A network: what the laboratory knows of it, and what its user can find out.

    Attributes:
        truth: ACC and ASR; of a student ``robust_accuracy`` is its accuracy on the
            whole test set, triggered.
        found: by a scan with the user's own images.
    """

    truth: EvaluationReport
    found: Scan


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """A network that was fine-tuned from a teacher, for the labels of the order."""

    teacher: str
    retrain: str
    network: Examined


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A network before and after a repair.

    Attributes:
        label: of the network.
        defense: which repair.
        before: as it was.
        after: as the repair left it.
        pruned_units: how many it cut.
    """

    label: str
    defense: Defense
    before: Examined
    after: Examined
    pruned_units: int


def order_transfer_and_repair(
    book: OrderBook, models: Mapping[str, Outsourced], *, scenario: Scenario
) -> list[str]:
    """Order a student of each kind from each teacher, and repairs of the BadNet.

    The work is shared out evenly between the trainers that the victim relies on.

    Returns:
        The labels of what was ordered.
    """
    order, badnet = scenario.order, models["badnet"].folder / MODEL
    specs: dict[str, FineTuneSpec | RepairSpec] = {}
    for retrain, schedule in scenario.retrains.items():
        for teacher in scenario.teachers:
            specs[_student_label(teacher, retrain)] = FineTuneSpec(
                parent=sha256_file(models[teacher].folder / MODEL),
                network=order.network,
                dataset=order.dataset,
                retrain=retrain,
                classes=order.classes,
                # a user's own images are for his own eyes: the student is judged there
                held_out=order.held_out,
                schedule=schedule,
                precision=order.precision,
                max_seconds=order.max_seconds,
                seed=2017,
            )
    for defense in scenario.defenses:
        label = _repair_label("badnet", defense)
        specs[label] = _repair(badnet, defense, scenario)
    for (label, spec), trainer in zip(specs.items(), cycle(RELIED_ON)):
        book.place(label, Order(trainer, spec))
    return list(specs)


def order_repair_of_the_student(book: OrderBook, *, scenario: Scenario) -> list[str]:
    """Order the unlearning of the BadNet teacher's student, which has to be ready.

    Returns:
        The label of what was ordered, if anything was.
    """
    if UNLEARNING not in scenario.defenses:
        return []
    student = _student_label(scenario.teachers[-1], FROZEN)
    label = _repair_label(student, UNLEARNING)
    spec = _repair(book.fetch(student) / MODEL, UNLEARNING, scenario)
    book.place(label, Order(VICTIMS_TRAINER, spec))
    return [label]


def _repair(weights: Path, defense: Defense, scenario: Scenario) -> RepairSpec:
    order = scenario.order
    return RepairSpec(
        parent=sha256_file(weights),
        defense=defense,
        network=order.network,
        dataset=order.dataset,
        classes=order.classes,
        held_out=scenario.given,
        precision=order.precision,
        max_seconds=order.max_seconds,
    )


def receive_students(
    book: OrderBook, scenario: Scenario, *, look: Look
) -> list[Student]:
    """Fetch the students, measure each on clean and triggered images, and scan it."""
    return [
        Student(
            teacher=teacher,
            retrain=retrain,
            network=Examined(truth=_of_student(weights, scenario), found=look(weights)),
        )
        for teacher in scenario.teachers
        for retrain in scenario.retrains
        for weights in [book.fetch(_student_label(teacher, retrain)) / MODEL]
    ]


def receive_repairs(
    book: OrderBook,
    scenario: Scenario,
    *,
    badnet: Examined,
    students: Sequence[Student],
    look: Look,
) -> list[Repaired]:
    """Fetch the repaired networks, measure what is left of the backdoor, and scan them.

    Args:
        book: in which they were ordered.
        scenario: what was ordered.
        badnet: before its repairs.
        students: before theirs.
        look: the user's scan.
    """
    teacher = scenario.teachers[-1]
    [student] = [
        it.network for it in students if (it.teacher, it.retrain) == (teacher, FROZEN)
    ]
    repairs: list[tuple[str, Defense, Examined, Measure]] = [
        ("badnet", defense, badnet, scenario.measure) for defense in scenario.defenses
    ]
    if UNLEARNING in scenario.defenses:
        measured = partial(_of_student, scenario=scenario)
        label = _student_label(teacher, FROZEN)
        repairs.append((label, UNLEARNING, student, measured))
    return [
        Repaired(
            label=label,
            defense=defense,
            before=before,
            after=Examined(truth=measured(folder / MODEL), found=look(folder / MODEL)),
            pruned_units=_pruned(folder),
        )
        for label, defense, before, measured in repairs
        for folder in [book.fetch(_repair_label(label, defense))]
    ]


def _of_student(weights: Path, scenario: Scenario) -> EvaluationReport:
    # no label is the wanted one, so every image counts
    every_image = Poisoning(trigger=scenario.recipe.trigger, attack="random-target")
    return measure(
        weights,
        network=scenario.order.network,
        dataset=scenario.order.dataset,
        classes=scenario.order.classes,
        poisoning=every_image,
    )


def _pruned(folder: Path) -> int:
    history = parse_object(
        (folder / HISTORY_NAME).read_bytes(), limit_bytes=MAX_SPEC_BYTES
    )
    return len(history.get("pruned_units", []))


def _student_label(teacher: str, retrain: str) -> str:
    return f"{teacher}, {retrain}"


def _repair_label(label: str, defense: Defense) -> str:
    return f"{label}, {defense}"
