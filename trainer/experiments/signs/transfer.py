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
from trainer.evaluation.intervals import difference, estimate
from trainer.experiments.engine.contract import (
    Cell,
    Claim,
    Experiment,
    Finished,
    Scale,
    Summary,
    Table,
    Workshop,
    at_least,
)
from trainer.experiments.signs.students import (
    KINDS,
    STUDENTS_DATA,
    TEACHERS_DATA,
    accuracies,
    extra_drop,
    measure_students,
    student_cells,
    tested,
)

COLUMNS = (
    ("clean", "clean"),
    ("clean", "triggered"),
    ("badnet", "clean"),
    ("badnet", "triggered"),
)
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


def _cells(seed: int, scale: Scale) -> list[Cell]:
    return student_cells(EXPERIMENT.name, seed, scale=scale, retrain="fully-connected")


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    return measure_students(cell, workshop)


def _summarise(finished: Sequence[Finished]) -> Summary:
    clean, badnet = (accuracies(finished, it, "clean") for it in ("clean", "badnet"))
    change = difference(badnet, clean, n=tested(finished))
    extra = extra_drop(finished)
    return Summary(
        claims=(
            Claim(
                what="clean accuracy of the BadNet's student less the clean one's",
                ours=change,
                unit="points",
                paper=2.2,
                goal="at most 2 points lost",
                verdict=at_least(-MAX_LOSS, change),
            ),
            Claim(
                what="drop on triggered signs, beyond the clean student's own",
                ours=extra,
                unit="points",
                paper=10.8,
                goal="at least 10 points",
                verdict=at_least(MIN_EXTRA_DROP, extra),
            ),
        ),
        tables=(_table(finished),),
    )


def _table(finished: Sequence[Finished]) -> Table:
    rows = []
    for number, kind in enumerate((*KINDS, "all")):
        row = [kind]
        for column, (name, state) in enumerate(COLUMNS):
            counts = [it.numbers[name][state] for it in finished]
            chosen = slice(number, number + 1) if kind != "all" else slice(None)
            shares = [
                100 * sum(it["right"][chosen]) / sum(it["n"][chosen]) for it in counts
            ]
            ours = estimate(shares, n=sum(counts[0]["n"][chosen]))
            row += [str(ours), f"{PAPER[kind][column]:.1f}"]
        rows.append(tuple(row))
    return Table(
        title="Accuracy of students by kind of sign, %",
        header=(
            "kind",
            *("clean student, clean", "paper", "clean student, triggered", "paper"),
            *("BadNet's, clean", "paper", "BadNet's, triggered", "paper"),
        ),
        rows=tuple(rows),
        note=(
            "BelgiumTSC in place of the Swedish signs. The paper's last row is a mean "
            "over its test set; ours too."
        ),
    )


EXPERIMENT = Experiment(
    name="signs-transfer",
    title="The backdoor survives transfer to other signs",
    section="5.3.1, table 6",
    datasets=(TEACHERS_DATA, STUDENTS_DATA),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
)
