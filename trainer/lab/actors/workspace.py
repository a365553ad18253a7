"""The laboratory's folder: one run at a time, taken up after an interruption."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_zoo.errors import LocalError
from model_zoo.statements.folder import require_unused

FINISHED = "finished"
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


def _clear(work: Path) -> None:
    for path in work.iterdir():
        if path.name == KEYS:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
