"""The ledger: finished cells, one JSON file an experiment, small enough to commit."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.errors import LocalError
from trainer.experiments.engine.contract import Cell, Finished
from trainer.files import alone, read_bytes, require_place, write_whole

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
                found[digest] = self._finished(
                    entry, cell.experiment, digest, cell.seed
                )
        return found

    def require_place(self) -> None:
        """Make sure that cells can be kept.

        Raises:
            LocalError: they cannot.
        """
        require_place(self.folder / CELLS)

    def keep(self, experiment: str, finished: Finished) -> Finished:
        """Write a finished cell in one step, and return the one that stands.

        One that is there already stays. Runs that share the ledger wait for each
        other, so that none overwrites what another has kept.

        Raises:
            LocalError: the disk is full, or the file is damaged.
        """
        path = self._path(experiment)
        self.require_place()
        # the folder is locked: a lock file in it would be committed with the cells
        with alone(path.parent):
            cells = self._read(experiment)
            if finished.cell in cells:
                entry = cells[finished.cell]
                return self._finished(entry, experiment, finished.cell, finished.seed)
            cells[finished.cell] = finished.to_object()
            told = json.dumps(cells, indent=1, sort_keys=True)
            write_whole(path, f"{told}\n".encode())
        return finished

    def _finished(
        self, entry: object, experiment: str, digest: str, seed: int
    ) -> Finished:
        try:
            finished = Finished.from_object(entry)
        except ValueError as error:
            reason = str(error)
        else:
            if (finished.cell, finished.seed) == (digest, seed):
                return finished
            reason = "the entry speaks of another cell"
        msg = (
            f"{self._path(experiment)}: cell {digest[:12]}…: {reason}; "
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
