"""Running: what is finished stays, whatever becomes of the processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
from tests.trainer.experiments.samples import cells
from trainer.experiments.engine.contract import Cell, Finished, Recipe
from trainer.experiments.engine.ledger import Ledger
from trainer.experiments.engine.running import (
    Came,
    Stations,
    most_processes,
    run_experiments,
    run_missing,
)

ROOT = Path(__file__).parents[3]
ACTOR = (sys.executable, str(Path(__file__).with_name("actor.py")))
PATIENCE_SECONDS = 60.0


def stations(folder: Path, *, count: int = 2) -> Stations:
    folder.mkdir(exist_ok=True)
    return Stations(count=count, models=folder, log=folder / "log", program=ACTOR)


def seed_of(number: int) -> Cell:
    return cells(number, "full")[0]


def of_model(cell: Cell, number: int) -> Cell:
    """Return ``cell``, measured on a model of its own for each ``number``."""
    return replace(cell, recipes={"network": Recipe(spec=TrainSpec(seed=number))})


def elsewhere(cell: Cell) -> Cell:
    """Return ``cell`` as one of another experiment."""
    return replace(cell, experiment="other")


def run_several(
    wanted: Sequence[Cell], tmp_path: Path, folder: Path, *, count: int
) -> dict[str, Came]:
    ran = run_experiments(
        wanted,
        ledger=Ledger(tmp_path),
        stations=stations(folder, count=count),
        told=silent,
    )
    with closing(ran) as ended:
        return dict(ended)


def seeds_of(came: Came) -> list[int]:
    assert not isinstance(came, ZooError), came
    return [it.seed for it in came]


def silent(_cell: Cell, _finished: Finished, _done: int, _total: int) -> None:
    """Say nothing."""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(folder: Path) -> list[int]:
    """Return the ids of the stations that were ever started with ``folder``."""
    return [int(path.stem) for path in folder.glob("*.station")]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of models; in the end none of its stations is left."""
    yield tmp_path / "models"
    assert all(is_gone(pid) for pid in started(tmp_path / "models"))


def test_there_are_no_more_processes_than_cores_or_than_fit_into_memory() -> None:
    cores, mib = os.cpu_count(), psutil.virtual_memory().total // 1024**2
    assert most_processes(1) == cores
    assert most_processes(mib + 1) == 1
    assert most_processes(mib // 2) == min(2, cores or 1)


def test_every_cell_is_run_once_kept_and_told(tmp_path: Path, folder: Path) -> None:
    wanted = [seed_of(it) for it in range(5)]
    told: list[tuple[int, int]] = []

    def tell(cell: Cell, finished: Finished, done: int, total: int) -> None:
        assert ledger.find([cell]) == {cell.digest(): finished}
        told.append((done, total))

    ledger = Ledger(tmp_path)
    found = run_missing(wanted, ledger=ledger, stations=stations(folder), told=tell)
    assert [it.seed for it in found] == [0, 1, 2, 3, 4]
    assert told == [(number, 5) for number in range(1, 6)]
    assert len(started(folder)) == 2


@pytest.mark.parametrize("place", ["cells", "models"])
def test_where_nothing_can_be_kept_nothing_is_begun(
    place: str, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(tmp_path / ("file" if place == "cells" else "out"))
    if place == "models":
        folder = tmp_path / "file" / "models"
    with pytest.raises(LocalError, match=r"cannot write into .*Not a directory"):
        run_missing(
            [seed_of(0)],
            ledger=ledger,
            stations=Stations(
                count=1, models=folder, log=folder / "log", program=ACTOR
            ),
            told=silent,
        )
    assert started(folder) == []


def test_a_second_run_starts_nothing_and_gives_the_same(
    tmp_path: Path, folder: Path
) -> None:
    wanted, ledger = [seed_of(0), seed_of(1)], Ledger(tmp_path)
    first = run_missing(wanted, ledger=ledger, stations=stations(folder), told=silent)
    before = started(folder)
    again = run_missing(wanted, ledger=ledger, stations=stations(folder), told=silent)
    assert (again, started(folder)) == (first, before)


def test_a_killed_station_names_its_cell_and_a_rerun_completes(
    tmp_path: Path, folder: Path
) -> None:
    wanted = [seed_of(it) for it in (0, 1, 2, actor.DIES, 3, 4)]
    ledger = Ledger(tmp_path)
    with pytest.raises(LocalError, match=f"seed {actor.DIES}.*killed by SIGKILL"):
        run_missing(
            wanted, ledger=ledger, stations=stations(folder, count=1), told=silent
        )
    kept = ledger.find(wanted)
    assert {it.seed for it in kept.values()} == {0, 1, 2}
    (folder / "spare").touch()
    found = run_missing(wanted, ledger=ledger, stations=stations(folder), told=silent)
    assert [it.seed for it in found] == [0, 1, 2, actor.DIES, 3, 4]


def test_what_runs_beside_a_failure_is_finished_and_kept(
    tmp_path: Path, folder: Path
) -> None:
    wanted, ledger = [seed_of(actor.DIES), seed_of(1)], Ledger(tmp_path)
    with pytest.raises(LocalError):
        run_missing(wanted, ledger=ledger, stations=stations(folder), told=silent)
    assert [it.seed for it in ledger.find(wanted).values()] == [1]


def test_after_a_failure_no_further_cell_is_begun(tmp_path: Path, folder: Path) -> None:
    wanted, ledger = [seed_of(it) for it in (actor.REFUSES, 1, 2)], Ledger(tmp_path)
    one = stations(folder, count=1)
    with pytest.raises(InvalidSpecError):
        run_missing(wanted, ledger=ledger, stations=one, told=silent)
    assert ledger.find(wanted) == {}


@pytest.mark.parametrize("failure", [actor.DIES, actor.REFUSES, actor.ENDLESS])
def test_a_failure_stops_no_other_experiment(
    failure: int, tmp_path: Path, folder: Path
) -> None:
    wanted = [seed_of(it) for it in (0, failure, 1)]
    wanted += [elsewhere(seed_of(it)) for it in (2, 3)]
    came = run_several(wanted, tmp_path, folder, count=1)
    assert isinstance(came["made-up"], ZooError)
    assert seeds_of(came["other"]) == [2, 3]
    assert [it.seed for it in Ledger(tmp_path).find(wanted).values()] == [0, 2, 3]


def test_what_is_finished_is_told_before_anything_else_is_run(
    tmp_path: Path, folder: Path
) -> None:
    there, wanted = elsewhere(seed_of(0)), seed_of(actor.SLEEPS)
    run_several([there], tmp_path, folder, count=1)
    before = started(folder)
    ran = run_experiments(
        [wanted, there],
        ledger=Ledger(tmp_path),
        stations=stations(folder),
        told=silent,
    )
    with closing(ran) as ended:
        assert next(ended)[0] == "other"
    assert started(folder) == before


def test_no_process_waits_for_a_model_while_there_is_another_to_be_made(
    tmp_path: Path, folder: Path
) -> None:
    # those of one model wait for the other experiment: both at once would not end
    same = [of_model(seed_of(it), 1) for it in (actor.AWAITS, 0, 1)]
    other = of_model(elsewhere(seed_of(0)), 2)
    same[1] = replace(same[0], part={"share": 0.9})
    came = run_several([*same, other], tmp_path, folder, count=2)
    assert seeds_of(came["other"]) == [0]
    assert seeds_of(came["made-up"]) == [actor.AWAITS, actor.AWAITS, 1]


def test_cells_of_one_model_are_run_all_the_same(tmp_path: Path, folder: Path) -> None:
    wanted = [of_model(seed_of(it), 1) for it in range(4)]
    came = run_several(wanted, tmp_path, folder, count=2)
    assert seeds_of(came["made-up"]) == [0, 1, 2, 3]
    assert len(started(folder)) == 2


@pytest.mark.parametrize(
    ("seed", "kind", "told"),
    [
        (actor.REFUSES, InvalidSpecError, "too few images"),
        (actor.LACKS, TransportError, "no such wheel"),
        (actor.DOUBTS, VerificationError, "other bytes"),
        (actor.BABBLES, LocalError, "answered nonsense"),
        (actor.ENDLESS, LocalError, "answered nonsense"),
        (actor.ANOTHER, LocalError, "answered for another cell"),
        (actor.RAISES, LocalError, "ArithmeticError: one divided by nothing"),
    ],
    ids=[
        "refused",
        "missing data",
        "not to be believed",
        "babble",
        "endless",
        "another cell",
        "a traceback",
    ],
)
def test_a_bad_answer_is_an_error_that_names_the_cell(
    seed: int, kind: type[Exception], told: str, tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(kind, match=f"made-up, share 0.1, seed {seed}: .*{told}"):
        run_missing(
            [seed_of(seed)],
            ledger=Ledger(tmp_path),
            stations=stations(folder),
            told=silent,
        )


def test_an_interrupt_leaves_no_process_and_keeps_what_is_finished(
    tmp_path: Path, folder: Path
) -> None:
    def interrupt() -> None:
        wait_for((folder / "asleep").exists)
        os.kill(os.getpid(), signal.SIGINT)

    wanted, ledger = [seed_of(0), seed_of(actor.SLEEPS)], Ledger(tmp_path)
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_missing(
            wanted, ledger=ledger, stations=stations(folder, count=1), told=silent
        )
    assert [it.seed for it in ledger.find(wanted).values()] == [0]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_station_dies_with_whoever_orders(tmp_path: Path) -> None:
    models, orders = tmp_path / "models", tmp_path / "orders"
    os.mkfifo(orders)
    code = (
        "import os, subprocess, sys, time\n"
        "program = [sys.executable, '-m', 'trainer.experiments.engine.station']\n"
        f"station = [*program, {str(models)!r}, str(os.getpid())]\n"
        f"child = subprocess.Popen(station, stdin=open({str(orders)!r}))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    # held open for writing: no end of its orders tells the station to end
    with (
        orders.open("r+b", buffering=0),
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE
        ) as parent,
    ):
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(models.exists)
        parent.kill()
        wait_for(lambda: is_gone(pid))
