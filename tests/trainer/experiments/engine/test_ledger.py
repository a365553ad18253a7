"""The ledger: nothing that was finished is lost, and nothing damaged is believed."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_zoo.errors import LocalError
from tests.trainer.experiments.samples import NAME, all_finished, cells, finished
from trainer.experiments.engine.contract import Cell
from trainer.experiments.engine.ledger import Ledger


def test_a_kept_cell_is_found_again_and_a_changed_one_is_not(tmp_path: Path) -> None:
    ledger, (first, second) = Ledger(tmp_path), cells(0, "full")
    assert ledger.find([first]) == {}
    ledger.keep(NAME, finished(first))
    assert ledger.find([first, second]) == {first.digest(): finished(first)}
    assert ledger.find(cells(0, "quick")) == {}


def test_who_is_first_stays(tmp_path: Path) -> None:
    ledger, cell = Ledger(tmp_path), cells(0, "full")[0]
    late = finished(cell).model_copy(update={"seconds": 99.0})
    assert ledger.keep(NAME, finished(cell)) == finished(cell)
    assert ledger.keep(NAME, late) == finished(cell)
    assert ledger.find([cell]) == {cell.digest(): finished(cell)}


def test_writers_at_once_lose_no_cell(tmp_path: Path) -> None:
    wanted = [cell for seed in range(30) for cell in cells(seed, "full")]
    with ThreadPoolExecutor(max_workers=8) as writers:
        # each opens the lock for itself, as another process would
        kept = [writers.submit(keep_alone, tmp_path, cell) for cell in wanted]
    assert [it.result() for it in kept] == [None] * len(wanted)
    assert len(Ledger(tmp_path).find(wanted)) == len(wanted)
    assert [it.name for it in (tmp_path / "cells").iterdir()] == [f"{NAME}.json"]


def keep_alone(folder: Path, cell: Cell) -> None:
    Ledger(folder).keep(NAME, finished(cell))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": 1', '{"a": NaN}', '{"a": 1, "a": 2}', "\xff"]
)
def test_a_damaged_file_is_named_with_what_to_do(text: str, tmp_path: Path) -> None:
    path = tmp_path / "cells" / f"{NAME}.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LocalError, match=rf"{path}: damaged: .*move it away"):
        Ledger(tmp_path).find(cells(0, "full"))
    with pytest.raises(LocalError, match="damaged"):
        Ledger(tmp_path).keep(NAME, all_finished()[0])
    assert path.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seconds": "long"}, id="a word for a number"),
        pytest.param({"surprise": 1}, id="an unknown field"),
        pytest.param({"cell": "0" * 64}, id="another cell's digest"),
        pytest.param({"seed": 7}, id="another seed"),
    ],
)
def test_a_damaged_entry_is_named_with_what_to_do(
    change: dict[str, object], tmp_path: Path
) -> None:
    ledger, cell = Ledger(tmp_path), cells(0, "full")[0]
    ledger.keep(NAME, finished(cell))
    path = tmp_path / "cells" / f"{NAME}.json"
    entry = finished(cell).to_object() | change
    path.write_text(json.dumps({cell.digest(): entry}))
    told = f"cell {cell.digest()[:12]}….*remove that entry"
    with pytest.raises(LocalError, match=told):
        ledger.find([cell])


def test_a_folder_that_cannot_be_written_is_a_local_error(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("a file in the folder's place")
    with pytest.raises(LocalError, match="cannot write into"):
        Ledger(tmp_path).keep(NAME, all_finished()[0])
