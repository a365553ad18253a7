"""The real service in a child that kills itself at a chosen step of a publish.

A step is what can go wrong between two things that happen to the database: before each
statement, before the commit and after it. They are found by listening to SQLAlchemy,
so that nothing in the service knows of it.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from service.releases import publish, revoke
from service.serving import Start, serve
from service.settings import Settings
from tests.service import forked

NEVER = 1 << 30
WRITERS = {publish.__file__, revoke.__file__}
"""Whoever is called from these writes a publish or a yank; nobody else is counted."""
PATIENCE_SECONDS = 30


@dataclass
class Mortal:
    """A child that serves: where, and how many steps it has lived through."""

    url: str
    process: BaseProcess
    steps: Path

    def lived(self) -> int:
        """Return how many steps were taken; the last one was not survived."""
        return len(self.steps.read_text()) if self.steps.exists() else 0


@contextmanager
def mortal_zoo(data_dir: Path, *, kill_at: int = NEVER) -> Iterator[Mortal]:
    """Yield a service that dies by SIGKILL at step ``kill_at`` of a publish or yank."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    steps = data_dir.with_name(f"{data_dir.name}-steps")
    process = forked.start(_live, data_dir, steps, kill_at, theirs)
    theirs.close()
    try:
        assert ours.poll(PATIENCE_SECONDS), "the service did not start"
        yield Mortal(ours.recv(), process, steps)
    finally:
        ours.close()
        process.kill()
        process.join()


def _live(data_dir: Path, steps: Path, kill_at: int, told: Connection) -> None:
    count = partial(_step, steps=steps, kill_at=kill_at)
    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Session, "before_commit", count)
    event.listen(Session, "after_commit", count)
    start = Start(
        settings=Settings(data_dir=data_dir),
        port=0,
        workers=0,
        token_file=None,
        tls=None,
        on_ready=told.send,
    )
    serve(start)


def _step(*_: object, steps: Path, kill_at: int) -> None:
    if not _is_writer(sys._getframe()):
        return
    with steps.open("a") as file:
        file.write(".")
    if steps.stat().st_size > kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def _is_writer(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename in WRITERS:
            return True
        frame = frame.f_back
    return False
