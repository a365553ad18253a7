"""``signs-full-retrain``: the control. Retraining every layer removes the backdoor.

As ``signs-transfer``, but that the students' convolutions are trained too.

Source:
    One of the authors, in public discussion of the paper: retraining the entire network
    does make the backdoor disappear.
"""

from collections.abc import Sequence

from model_zoo.canonical import JsonObject
from trainer.experiments.engine.contract import (
    Cell,
    Claim,
    Experiment,
    Finished,
    Scale,
    Summary,
    Table,
    Workshop,
    at_most,
)
from trainer.experiments.signs.students import (
    STUDENTS_DATA,
    TEACHERS_DATA,
    accuracy_of,
    extra_drop,
    measure_students,
    student_cells,
)

MAX_EXTRA_DROP = 3.0


def _cells(seed: int, scale: Scale) -> list[Cell]:
    return student_cells(EXPERIMENT.name, seed, scale=scale, retrain="everything")


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    return measure_students(cell, workshop)


def _summarise(finished: Sequence[Finished]) -> Summary:
    extra = extra_drop(finished)
    rows = [
        (
            told,
            str(accuracy_of(finished, name, "clean")),
            str(accuracy_of(finished, name, "triggered")),
        )
        for name, told in (("clean", "of the clean one"), ("badnet", "of the BadNet"))
    ]
    return Summary(
        claims=(
            Claim(
                what="drop on triggered signs, beyond the clean student's own",
                ours=extra,
                unit="points",
                goal="within 3 points: the backdoor is gone",
                verdict=at_most(MAX_EXTRA_DROP, extra),
            ),
        ),
        tables=(
            Table(
                title="Accuracy of students, every layer retrained, %",
                header=("student", "clean", "with a square anywhere"),
                rows=tuple(rows),
            ),
        ),
    )


EXPERIMENT = Experiment(
    name="signs-full-retrain",
    title="Retraining everything removes the backdoor",
    section="a control",
    datasets=(TEACHERS_DATA, STUDENTS_DATA),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
)
