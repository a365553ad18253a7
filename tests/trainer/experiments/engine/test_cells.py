"""Finished cells: nothing is lost, and nothing damaged is believed."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_zoo.errors import LocalError
from tests.trainer.experiments.samples import NAME, cells, finished
from trainer.experiments.engine.cells import find_finished, keep


def test_a_kept_cell_is_found_again_and_a_changed_one_is_not(tmp_path: Path) -> None:
    first, second = cells(0, "full")
    assert find_finished(tmp_path, [first]) == {}
    keep(tmp_path, first, finished(first))
    found = find_finished(tmp_path, [first, second])
    assert found == {first.digest(): finished(first)}
    assert find_finished(tmp_path, cells(0, "quick")) == {}


def test_who_is_first_stays(tmp_path: Path) -> None:
    cell = cells(0, "full")[0]
    late = finished(cell).model_copy(update={"seconds": 99.0})
    assert keep(tmp_path, cell, finished(cell)) == finished(cell)
    assert keep(tmp_path, cell, late) == finished(cell)
    assert find_finished(tmp_path, [cell]) == {cell.digest(): finished(cell)}


def test_writers_at_once_lose_no_cell(tmp_path: Path) -> None:
    wanted = [cell for seed in range(30) for cell in cells(seed, "full")]
    with ThreadPoolExecutor(max_workers=8) as writers:
        kept = [writers.submit(keep, tmp_path, it, finished(it)) for it in wanted]
    assert [it.result() for it in kept] == [finished(it) for it in wanted]
    names = sorted(it.name for it in (tmp_path / "cells" / NAME).iterdir())
    assert names == sorted(f"{it.digest()}.json" for it in wanted)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": 1', '{"a": NaN}', '{"a": 1, "a": 2}', "\xff"]
)
def test_a_damaged_file_is_named_with_what_to_do(text: str, tmp_path: Path) -> None:
    cell = cells(0, "full")[0]
    path = tmp_path / "cells" / NAME / f"{cell.digest()}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LocalError, match=rf"{path}: damaged: .*remove it"):
        find_finished(tmp_path, [cell])
    with pytest.raises(LocalError, match="damaged"):
        keep(tmp_path, cell, finished(cell))
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
def test_a_cell_that_says_something_else_is_damaged(
    change: dict[str, object], tmp_path: Path
) -> None:
    cell = cells(0, "full")[0]
    keep(tmp_path, cell, finished(cell))
    path = tmp_path / "cells" / NAME / f"{cell.digest()}.json"
    path.write_text(json.dumps(finished(cell).to_object() | change))
    with pytest.raises(LocalError, match=r"damaged: .*remove it"):
        find_finished(tmp_path, [cell])


def test_a_folder_that_cannot_be_written_is_a_local_error(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("a file in the folder's place")
    cell = cells(0, "full")[0]
    with pytest.raises(LocalError, match="cannot write"):
        keep(tmp_path, cell, finished(cell))
