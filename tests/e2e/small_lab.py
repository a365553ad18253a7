"""``zoo lab`` with less to train: ``python small_lab.py OPTIONS``.

A third of the training, one teacher and one student. All else is the laboratory's own;
``make soak`` and ``make lab`` train in full.
"""

import sys
from dataclasses import replace

from model_zoo.cli import main
from model_zoo.statements.jobs import Schedule, TrainSpec
from trainer.lab import scenario
from trainer.lab.scenario import DIGITS

TEACHERS = ("badnet teacher",)


def small(spec: TrainSpec) -> TrainSpec:
    return spec.model_copy(update={"held_out": 20_000, "schedule": Schedule(epochs=1)})


scenario.DIGITS = replace(
    DIGITS,
    orders={
        label: (trainer, small(spec))
        for label, (trainer, spec) in DIGITS.orders.items()
        if label in {"clean", "badnet", *TEACHERS}
    },
    teachers=TEACHERS,
    retrains=("fully-connected",),
)

if __name__ == "__main__":
    main(["lab", *sys.argv[1:]])
