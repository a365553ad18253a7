"""Running: what is finished stays, whatever becomes of the processes."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from model_zoo.errors import (
    InvalidSpecError,
    LocalError,
    TransportError,
    VerificationError,
    ZooError,
)
from model_zoo.statements.jobs import TrainSpec
from tests.trainer.experiments import actor
from tests.trainer.experiments.actor import ACTOR, OTHER
from tests.trainer.experiments.samples import finished
from trainer.experiments.engine.cells import (
    Cell,
    Finished,
    Recipe,
    find_finished,
    keep,
)
from trainer.experiments.engine.experiment import Experiment
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.running import Outcome, run_experiments

ROOT = Path(__file__).parents[4]
PATIENCE_SECONDS = 300.0


def seed_of(number: int, experiment: Experiment = ACTOR) -> Cell:
    return experiment.cells(number, "full")[0]


def of_model(cell: Cell, number: int) -> Cell:
    """Return ``cell``, measured on a model of its own for each ``number``."""
    return replace(cell, recipes={"network": Recipe(spec=TrainSpec(seed=number))})


def silent(_cell: Cell, _finished: Finished, _done: int, _total: int) -> None:
    """Say nothing."""


def run_several(
    wanted: Mapping[Experiment, Sequence[Cell]], folder: Path, *, count: int = 1
) -> dict[Experiment, Outcome]:
    ran = run_experiments(
        wanted,
        folder=folder,
        processes=count,
        models=ModelCache(folder=folder / "models"),
        report=silent,
    )
    with closing(ran) as outcomes:
        return dict(outcomes)


def run_all(wanted: Sequence[Cell], folder: Path, *, count: int = 1) -> list[Finished]:
    outcome = run_several({ACTOR: wanted}, folder, count=count)[ACTOR]
    if isinstance(outcome, ZooError):
        raise outcome
    return outcome


def seeds_of(outcome: Outcome) -> list[int]:
    assert not isinstance(outcome, ZooError), outcome
    return [it.seed for it in outcome]


def kept(folder: Path, wanted: Sequence[Cell]) -> set[int]:
    return {it.seed for it in find_finished(folder, wanted).values()}


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(folder: Path) -> list[int]:
    """Return the ids of the processes that ever measured with models in ``folder``."""
    return [int(path.stem) for path in (folder / "models").glob("*.worker")]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(autouse=True)
def _none_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []
    assert all(is_gone(pid) for pid in started(tmp_path))


def test_every_cell_is_run_once_kept_and_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = [seed_of(it) for it in (0, 1, actor.PRINTS, 3)]
    told: list[tuple[int, int]] = []

    def tell(cell: Cell, finished: Finished, done: int, total: int) -> None:
        assert find_finished(tmp_path, [cell]) == {cell.digest(): finished}
        told.append((done, total))

    ran = run_experiments(
        {ACTOR: wanted},
        folder=tmp_path,
        processes=2,
        models=ModelCache(folder=tmp_path / "models"),
        report=tell,
    )
    with closing(ran) as outcomes:
        ((_, outcome),) = outcomes
    assert seeds_of(outcome) == [0, 1, actor.PRINTS, 3]
    assert told == [(number, 4) for number in range(1, 5)]
    before = started(tmp_path)
    assert 1 <= len(before) <= 2
    # what a process prints is in the log: stdout carries the command's document
    assert "chatter" in (tmp_path / "models" / "workers.log").read_text()
    assert capfd.readouterr() == ("", "")
    # a second run starts nothing and gives the same
    assert (run_all(wanted, tmp_path), started(tmp_path)) == (outcome, before)


@pytest.mark.parametrize("place", ["cells", "models"])
def test_where_nothing_can_be_kept_nothing_is_begun(place: str, tmp_path: Path) -> None:
    (tmp_path / place).touch()
    with pytest.raises(LocalError, match="cannot write into"):
        run_all([seed_of(0)], tmp_path)


def test_a_failure_names_its_cell_and_stops_its_own_experiment_only(
    tmp_path: Path,
) -> None:
    failures = {
        actor.REFUSES: (InvalidSpecError, "too few images"),
        actor.LACKS: (TransportError, "no such wheel"),
        actor.DOUBTS: (VerificationError, "model.*1111"),
        actor.RAISES: (LocalError, "ArithmeticError: one divided by nothing"),
        actor.DIES: (LocalError, "its process died"),
    }
    wanted = {}
    for seed in failures:
        experiment = replace(ACTOR, name=f"of-{seed}")
        wanted[experiment] = [seed_of(it, experiment) for it in (0, seed, 1)]
    wanted[OTHER] = [seed_of(it, OTHER) for it in (2, 3)]

    *outcomes, other = run_several(wanted, tmp_path).values()

    assert seeds_of(other) == [2, 3]
    for (seed, (kind, told)), outcome in zip(failures.items(), outcomes, strict=True):
        assert isinstance(outcome, kind)
        assert re.search(f"of-{seed}, share 0.1, seed {seed}: .*{told}", str(outcome))
    of_refused = next(iter(wanted.values()))
    assert kept(tmp_path, of_refused) == {0}
    (tmp_path / "models" / "spare").touch()
    again = {it: cells for it, cells in wanted.items() if it.name.endswith("100")}
    ((_, outcome),) = run_several(again, tmp_path).items()
    assert seeds_of(outcome) == [0, actor.DIES, 1]


def test_what_runs_beside_a_killed_process_is_finished_and_kept(tmp_path: Path) -> None:
    wanted = {ACTOR: [seed_of(actor.DIES)], OTHER: [seed_of(1, OTHER)]}
    outcomes = run_several(wanted, tmp_path, count=2)
    assert isinstance(outcomes[ACTOR], LocalError)
    assert seeds_of(outcomes[OTHER]) == [1]


def test_what_is_finished_is_told_before_anything_else_is_run(tmp_path: Path) -> None:
    there, wanted = [seed_of(0, OTHER)], [seed_of(actor.SLEEPS)]
    keep(tmp_path, there[0], finished(there[0]))
    ran = run_experiments(
        {ACTOR: wanted, OTHER: there},
        folder=tmp_path,
        processes=1,
        models=ModelCache(folder=tmp_path / "models"),
        report=silent,
    )
    with closing(ran) as outcomes:
        assert next(outcomes)[0] is OTHER
    assert started(tmp_path) == []


def test_no_process_waits_for_a_model_while_there_is_another_to_be_made(
    tmp_path: Path,
) -> None:
    # those of one model wait for the other experiment: both at once would not end
    same = [of_model(seed_of(it), 1) for it in (actor.AWAITS, 0, 1)]
    same[1] = replace(same[0], part={"share": 0.9})
    other = [of_model(seed_of(0, OTHER), 2)]
    outcomes = run_several({ACTOR: same, OTHER: other}, tmp_path, count=2)
    assert seeds_of(outcomes[OTHER]) == [0]
    assert seeds_of(outcomes[ACTOR]) == [actor.AWAITS, actor.AWAITS, 1]


def test_an_interrupt_leaves_no_process_and_keeps_what_is_finished(
    tmp_path: Path,
) -> None:
    def interrupt() -> None:
        wait_for((tmp_path / "models" / "asleep").exists)
        os.kill(os.getpid(), signal.SIGINT)

    wanted = [seed_of(0), seed_of(actor.SLEEPS)]
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_all(wanted, tmp_path, count=1)
    assert kept(tmp_path, wanted) == {0}


def test_worker_processes_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from tests.trainer.experiments.actor import SLEEPS\n"
        "from tests.trainer.experiments.engine.test_running import run_all, seed_of\n"
        f"run_all([seed_of(SLEEPS)], Path({str(tmp_path)!r}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as parent:
        wait_for((tmp_path / "models" / "asleep").exists)
        (pid,) = started(tmp_path)
        assert not is_gone(pid)
        parent.kill()
        wait_for(lambda: is_gone(pid))
