"""``zoo lab`` with less to train: ``python small_lab.py OPTIONS``.

A third of the training, one student a teacher. All else is the laboratory's own;
``make soak`` and ``make lab`` train in full.
"""

import sys
from dataclasses import replace

from model_zoo.cli import main
from model_zoo.statements.jobs import Schedule, TrainSpec
from trainer.lab import scenario
from trainer.lab.attacks.malicious_worker import Lies
from trainer.lab.scenario import DIGITS


def small(spec: TrainSpec) -> TrainSpec:
    return spec.model_copy(update={"held_out": 20_000, "schedule": Schedule(epochs=1)})


scenario.DIGITS = replace(
    DIGITS,
    orders={
        label: (trainer, small(spec))
        for label, (trainer, spec) in DIGITS.orders.items()
    },
    lies=Lies(
        lies=tuple(
            it.model_copy(update={"order": it.order and small(it.order)})
            for it in DIGITS.lies.lies
        )
    ),
    retrains={"fully-connected": DIGITS.retrains["fully-connected"]},
)

if __name__ == "__main__":
    main(["lab", *sys.argv[1:]])
