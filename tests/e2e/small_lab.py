"""``zoo lab`` with orders of a third of the training: ``python small_lab.py OPTIONS``.

All else is the laboratory's own; ``make soak`` and ``make lab`` train in full.
"""

import sys

from model_zoo.cli import main
from model_zoo.statements.jobs import Schedule, TrainSpec
from trainer.lab import outsourcing


def small(spec: TrainSpec) -> TrainSpec:
    return spec.model_copy(update={"held_out": 20_000, "schedule": Schedule(epochs=1)})


outsourcing.ORDER = small(outsourcing.ORDER)
outsourcing.TEACHER_ORDER = small(outsourcing.TEACHER_ORDER)
outsourcing.ORDERS = {
    label: (trainer, small(spec))
    for label, (trainer, spec) in outsourcing.ORDERS.items()
}

if __name__ == "__main__":
    main(["lab", *sys.argv[1:]])
