"""``zoo lab`` with one path of attack and one student: ``brought_lab.py OPTIONS``.

All else is the laboratory's own; ``test_lab.py`` plays every path with its own models.
"""

import sys
from dataclasses import replace

from model_zoo.cli import main
from model_zoo.statements.jobs import TrainSpec
from trainer.lab import scenario, scoreboard
from trainer.lab.scenario import Scenario

PATH = "stolen key, revoked"
EXPECTED = {PATH: scoreboard.EXPECTED[PATH]}
whole = scenario.brought


def with_one_student(spec: TrainSpec) -> Scenario:
    return replace(whole(spec), teachers=("badnet",))


if __name__ == "__main__":
    scoreboard.OWN = replace(scoreboard.OWN, expected=EXPECTED)
    scenario.brought = with_one_student
    main(["lab", *sys.argv[1:]])
