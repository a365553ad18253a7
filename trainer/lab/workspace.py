"""The laboratory's folder: one run at a time, taken up after an interruption."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_zoo.errors import LocalError

FINISHED = "finished"


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """Yield the work folder under ``out``: an interrupted run's own, or an empty one.

    Raises:
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
        if (work / FINISHED).exists():
            shutil.rmtree(work)
        work.mkdir(exist_ok=True)
        yield work
        (work / FINISHED).touch()
