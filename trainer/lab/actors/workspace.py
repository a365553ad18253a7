"""The laboratory's folder: one run at a time, taken up after an interruption."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_zoo.errors import ConflictError, LocalError
from model_zoo.statements.folder import require_unused
from model_zoo.statements.jobs import TrainSpec
from trainer.files import write_whole

FINISHED = "finished"
PLAYED = "spec.json"
KEYS = "keys"
MARK = "DELIBERATELY-BACKDOORED-MODELS.txt"
WARNING = """\
This folder holds deliberately backdoored models, made by `zoo lab` for defensive
research: drafts called "badnet", and most of what lies under "victims".
Do not use them for anything else.
"""


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """Yield the work folder under ``out``: an interrupted run's own, or a cleared one.

    Keys outlive a run: a zoo that goes on running has their names bound to them.

    Raises:
        ConflictError: a work folder that no laboratory made lies there.
        LocalError: another laboratory is at work there.
    """
    work = out / "work"
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another zoo lab is at work in {out}; wait, or name another --out"
            raise LocalError(msg) from error
        if not (work / MARK).exists():
            require_unused(work)
        if (work / FINISHED).exists():
            _clear(work)
        work.mkdir(exist_ok=True)
        (work / MARK).write_text(WARNING)
        yield work
        (work / FINISHED).touch()


def take_up(work: Path, spec: TrainSpec | None) -> None:
    """Accept an interrupted run of ``spec`` alone, and note what is played from now on.

    Args:
        work: what ``workspace`` yields.
        spec: brought from outside; None for the laboratory's own orders.

    Raises:
        ConflictError: the run that was interrupted there has other orders.
    """
    played, path = b"" if spec is None else spec.to_bytes(), work / PLAYED
    if path.exists() and path.read_bytes() != played:
        begun = "another --spec" if path.read_bytes() else "no --spec"
        now = "none" if spec is None else "this one"
        msg = (
            f"{work} holds an interrupted run: expected {begun}, as it was started, "
            f"found {now}; end that run first, or name another --out"
        )
        raise ConflictError(msg)
    write_whole(path, played)


def _clear(work: Path) -> None:
    for path in work.iterdir():
        if path.name == KEYS:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
