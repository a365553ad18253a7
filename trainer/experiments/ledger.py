"""The ledger: finished cells, one JSON file an experiment, small enough to commit."""

import json
from dataclasses import dataclass
from pathlib import Path

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.errors import LocalError
from trainer.experiments.contract import Cell, Finished
from trainer.files import read_bytes, write_whole

CELLS = "cells"
MAX_LEDGER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ledger:
    """The finished cells under ``results/cells/``."""

    folder: Path

    def find(self, cell: Cell) -> Finished | None:
        """Return the cell as it was finished; None if it was not.

        Raises:
            LocalError: the file is damaged; it says which.
        """
        found = self._read(cell.experiment).get(cell.digest())
        if found is None:
            return None
        try:
            return Finished.from_object(found)
        except ValueError as error:
            msg = f"{self._path(cell.experiment)}: {error}; remove the cell, run again"
            raise LocalError(msg) from error

    def keep(self, experiment: str, finished: Finished) -> None:
        """Write a finished cell, in one step."""
        cells = self._read(experiment) | {finished.cell: finished.to_object()}
        told = json.dumps(cells, indent=1, sort_keys=True)
        write_whole(self._path(experiment), f"{told}\n".encode())

    def _read(self, experiment: str) -> JsonObject:
        path = self._path(experiment)
        if not path.exists():
            return {}
        try:
            return parse_object(read_bytes(path), limit_bytes=MAX_LEDGER_BYTES)
        except ValueError as error:
            msg = f"{path}: {error}"
            raise LocalError(msg) from error

    def _path(self, experiment: str) -> Path:
        return self.folder / CELLS / f"{experiment}.json"
