"""``zoo lab`` with one student: ``brought_lab.py OPTIONS``; all else is its own."""

import sys
from dataclasses import replace

from model_zoo.cli import main
from model_zoo.statements.jobs import TrainSpec
from trainer.lab import scenario
from trainer.lab.scenario import Scenario

whole = scenario.brought


def with_one_student(spec: TrainSpec) -> Scenario:
    return replace(whole(spec), teachers=("badnet",))


if __name__ == "__main__":
    scenario.brought = with_one_student
    main(["lab", *sys.argv[1:]])
