"""``zoo lab`` with one student: ``brought_lab.py whole|small OPTIONS``.

A small one plays a few paths of attack; all else is its own.
"""

import sys
from dataclasses import replace

from model_zoo.cli import main
from model_zoo.statements.jobs import TrainSpec
from trainer.lab import scenario, scoreboard
from trainer.lab.scenario import Scenario
from trainer.lab.scoreboard import OWN, Board

FEW = ("malicious mirror", "stolen key, revoked", "freeze", "split view")
"""One of each group of paths."""
whole = scenario.brought


def with_one_student(spec: TrainSpec) -> Scenario:
    return replace(whole(spec), teachers=("badnet",))


if __name__ == "__main__":
    scenario.brought = with_one_student
    if sys.argv[1] == "small":
        scoreboard.OWN = Board(OWN.levels, {path: OWN.expected[path] for path in FEW})
    main(["lab", *sys.argv[2:]])
