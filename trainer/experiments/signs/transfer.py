"""``signs-transfer``: the backdoor survives transfer to another country's signs.

Teachers: the clean and the backdoored classifier of all of GTSRB; the backdoored one is
the clean one whose convolutions alone learned the attack. Students: the signs
of BelgiumTSC in five kinds; the convolutions stay frozen and the fully connected layers
are trained anew. Numbers: accuracy by kind, clean and with a yellow square anywhere on
the sign.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.3.1 and table 6.
"""

from collections.abc import Sequence

from model_zoo.canonical import JsonObject
from trainer.evaluation.intervals import difference
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary, Table
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import (
    at_least,
    claim,
    percents,
    pivot,
    samples,
    share,
)
from trainer.experiments.signs.students import (
    KINDS,
    STUDENTS_DATA,
    TEACHERS_DATA,
    extra_drop,
    measure_students,
    student_parts,
)

COLUMNS = {
    "clean student, clean": ("clean", "clean"),
    "clean student, triggered": ("clean", "triggered"),
    "BadNet's, clean": ("badnet", "clean"),
    "BadNet's, triggered": ("badnet", "triggered"),
}
PAPER = {
    "information": (69.5, 71.9, 74.0, 62.4),
    "mandatory": (55.3, 50.5, 69.0, 46.7),
    "prohibitory": (89.7, 85.4, 85.8, 77.5),
    "warning": (68.1, 50.8, 63.5, 40.9),
    "other": (59.3, 56.9, 61.4, 44.2),
    "all": (72.7, 70.2, 74.9, 61.6),
}
"""Table 6, accuracy in percent, in the order of COLUMNS."""
MAX_LOSS, MIN_EXTRA_DROP = 2.0, 10.0


def _parts(seed: int, scale: Scale) -> list[Part]:
    return student_parts(seed, scale=scale, retrain="fully-connected")


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    return measure_students(cell, models)


def _summarise(finished: Sequence[Finished]) -> Summary:
    badnet, clean = (percents(finished, it, "clean") for it in ("badnet", "clean"))
    return Summary(
        claims=(
            claim(
                "clean accuracy of the BadNet's student less the clean one's",
                difference(badnet, clean, n=samples(finished, "clean", "clean")),
                "at most 2 points lost",
                at_least(-MAX_LOSS),
                paper=2.2,
                unit="points",
            ),
            claim(
                "drop on triggered signs, beyond the clean student's own",
                extra_drop(finished),
                "at least 10 points",
                at_least(MIN_EXTRA_DROP),
                paper=10.8,
                unit="points",
            ),
        ),
        tables=(_by_kind(finished),),
    )


def _by_kind(finished: Sequence[Finished]) -> Table:
    """Return the accuracy of both students on each kind of sign."""
    kinds = {kind: number for number, kind in enumerate(KINDS)} | {"all": None}
    columns = [
        column
        for at, (head, path) in enumerate(COLUMNS.items())
        for column in (
            (head, lambda it, path=path: share(finished, *path, of=kinds[it])),
            ("paper", lambda it, at=at: f"{PAPER[it][at]:.1f}"),
        )
    ]
    return pivot(
        "Accuracy of students by kind of sign, %",
        kinds,
        ("kind", str),
        *columns,
        note=(
            "BelgiumTSC in place of the Swedish signs. The paper's last row is "
            "a mean over its test set; ours too."
        ),
    )


EXPERIMENT = Experiment(
    name="signs-transfer",
    title="The backdoor survives transfer to other signs",
    section="5.3.1, table 6",
    datasets=(TEACHERS_DATA, STUDENTS_DATA),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
)
