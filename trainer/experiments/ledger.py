"""The ledger: finished cells, one JSON file an experiment, small enough to commit."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.errors import LocalError
from trainer.experiments.contract import Cell, Finished
from trainer.files import read_bytes, write_whole

CELLS = "cells"
MAX_LEDGER_BYTES = 64 * 1024 * 1024
"""Some thousand cells; a file is read once a run and written once a cell."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The finished cells under ``FOLDER/cells/``."""

    folder: Path

    def find(self, cells: Sequence[Cell]) -> dict[str, Finished]:
        """Return digest -> those of ``cells`` that are finished.

        Raises:
            LocalError: a file is damaged; it says which and what to do.
        """
        kept = {name: self._read(name) for name in {it.experiment for it in cells}}
        found = {}
        for cell in cells:
            digest = cell.digest()
            entry = kept[cell.experiment].get(digest)
            if entry is not None:
                found[digest] = self._finished(cell, digest, entry)
        return found

    def require_place(self) -> None:
        """Make sure that cells can be kept, before hours are spent on one.

        Raises:
            LocalError: the folder cannot be made, or nothing can be written there.
        """
        folder = self.folder / CELLS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            msg = f"cannot write into {folder}: {error.strerror}"
            raise LocalError(msg) from error

    def keep(self, experiment: str, finished: Finished) -> None:
        """Write a finished cell, in one step; one that is there already stays.

        Runs that share the ledger wait for each other, so that none overwrites what
        another has kept.

        Raises:
            LocalError: the disk is full, or the file is damaged.
        """
        path = self._path(experiment)
        with _alone(path.parent):
            cells = {finished.cell: finished.to_object()} | self._read(experiment)
            told = json.dumps(cells, indent=1, sort_keys=True)
            write_whole(path, f"{told}\n".encode())

    def _finished(self, cell: Cell, digest: str, entry: object) -> Finished:
        try:
            finished = Finished.from_object(entry)
        except ValueError as error:
            reason = str(error)
        else:
            if (finished.cell, finished.seed) == (digest, cell.seed):
                return finished
            reason = "the entry speaks of another cell"
        msg = (
            f"{self._path(cell.experiment)}: cell {digest[:12]}…: {reason}; "
            "remove that entry and run again"
        )
        raise LocalError(msg)

    def _read(self, experiment: str) -> JsonObject:
        path = self._path(experiment)
        if not path.exists():
            return {}
        try:
            return parse_object(read_bytes(path), limit_bytes=MAX_LEDGER_BYTES)
        except ValueError as error:
            msg = (
                f"{path}: damaged: {error}; take it back from version control, or "
                "move it away to run its cells again"
            )
            raise LocalError(msg) from error

    def _path(self, experiment: str) -> Path:
        return self.folder / CELLS / f"{experiment}.json"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``; a process that dies lets go of it.

    The folder itself is locked: its files are replaced, and a lock file among them
    would be committed with them.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        msg = f"cannot use {folder}: {error.strerror}"
        raise LocalError(msg) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
