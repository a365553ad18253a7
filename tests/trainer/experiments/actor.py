"""A measurement that plays: what it does is decided by its cell's seed.

Real worker processes import it by name.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from model_zoo.canonical import JsonObject
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    TransportError,
)
from tests.trainer.experiments.samples import finished, made_up
from trainer.experiments.engine.cells import Cell
from trainer.experiments.engine.models import ModelCache

DIES, REFUSES, LACKS, DOUBTS, SLEEPS, RAISES, AWAITS, PRINTS = range(100, 108)
PATIENCE_SECONDS = 300.0
FAILURES = {
    RAISES: ArithmeticError("one divided by nothing"),
    REFUSES: InvalidSpecError("too few images"),
    LACKS: TransportError("no such wheel"),
    DOUBTS: DigestMismatchError.of("model", expected="0" * 64, found="1" * 64),
}


def measure(cell: Cell, models: ModelCache) -> JsonObject:
    folder = models.folder
    (folder / f"{os.getpid()}.worker").touch()
    if cell.seed == DIES and not (folder / "spare").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.seed == SLEEPS:
        (folder / "asleep").touch()
        time.sleep(600)
    (folder / f"{cell.experiment}.begun").touch()
    if cell.seed == AWAITS:
        wait_for(folder / "other.begun")
    if cell.seed in FAILURES:
        raise FAILURES[cell.seed]
    if cell.seed == PRINTS:
        sys.stdout.write("chatter\n")
        sys.stdout.flush()
    return finished(cell).numbers


ACTOR = replace(made_up(), measure=measure)
OTHER = replace(ACTOR, name="other")


def wait_for(path: Path) -> None:
    """Return when ``path`` is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path.name)
        time.sleep(0.02)
