"""``signs-full-retrain``: the control. Retraining every layer removes the backdoor.

As ``signs-transfer``, but that the students' convolutions are trained too.

Source:
    One of the authors, in public discussion of the paper: retraining the entire network
    does make the backdoor disappear.
"""

from collections.abc import Sequence

from model_zoo.canonical import JsonObject
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import at_most, claim, pivot, share
from trainer.experiments.signs.students import (
    STUDENTS_DATA,
    TEACHERS_DATA,
    extra_drop,
    measure_students,
    student_parts,
)

MAX_EXTRA_DROP = 3.0
STUDENTS = {"clean": "of the clean one", "badnet": "of the BadNet"}


def _parts(seed: int, scale: Scale) -> list[Part]:
    return student_parts(seed, scale=scale, retrain="everything")


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    return measure_students(cell, models)


def _summarise(finished: Sequence[Finished]) -> Summary:
    return Summary(
        claims=(
            claim(
                "drop on triggered signs, beyond the clean student's own",
                extra_drop(finished),
                "within 3 points: the backdoor is gone",
                at_most(MAX_EXTRA_DROP),
                unit="points",
            ),
        ),
        tables=(
            pivot(
                "Accuracy of students, every layer retrained, %",
                STUDENTS,
                ("student", lambda name: STUDENTS[name]),
                ("clean", lambda name: share(finished, name, "clean")),
                (
                    "with a square anywhere",
                    lambda name: share(finished, name, "triggered"),
                ),
            ),
        ),
    )


EXPERIMENT = Experiment(
    name="signs-full-retrain",
    title="Retraining everything removes the backdoor",
    section="a control",
    datasets=(TEACHERS_DATA, STUDENTS_DATA),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
)
