"""The results that are committed: as the code makes them, and as the document says."""

from pathlib import Path

import matplotlib as mpl
import pytest

from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.cells import find_finished
from trainer.experiments.engine.figures import saved, styled
from trainer.experiments.engine.results import read_result, result_of
from trainer.experiments.reproduction import page

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results"
FINISHED = [name for name in EXPERIMENTS if (RESULTS / f"{name}.json").exists()]


def test_the_document_is_what_the_results_say() -> None:
    told = "run: python -m trainer.experiments.reproduction results > "
    document = ROOT / "docs" / "reproduction.md"
    assert document.read_text(encoding="utf-8") == page(RESULTS), f"{told}{document}"


@pytest.mark.parametrize("name", FINISHED)
def test_a_result_is_what_its_finished_cells_add_up_to(name: str) -> None:
    experiment, result = EXPERIMENTS[name], read_result(RESULTS, name)
    assert result is not None
    cells = [cell for seed in result.seeds for cell in experiment.cells(seed, "full")]
    finished = find_finished(RESULTS, cells)
    assert len(finished) == len(cells), f"run: zoo experiment {name}"
    again = [finished[cell.digest()] for cell in cells]
    figures = experiment.draw(again)
    assert result_of(experiment, again, figures=figures, scale="full") == result


@pytest.mark.parametrize("name", FINISHED)
def test_every_figure_of_a_result_is_what_its_finished_cells_draw(name: str) -> None:
    experiment, result = EXPERIMENTS[name], read_result(RESULTS, name)
    assert result is not None
    cells = [cell for seed in result.seeds for cell in experiment.cells(seed, "full")]
    finished = find_finished(RESULTS, cells)
    with styled():
        figures = experiment.draw([finished[cell.digest()] for cell in cells])
    for picture, figure in zip(result.pictures, figures.values(), strict=True):
        path = RESULTS / picture.path
        assert path.with_suffix(".png").exists()
        there = path.read_bytes()
        if f"Matplotlib v{mpl.__version__},".encode() in there:
            assert saved(figure, "svg") == there, f"run: zoo experiment {name}"


def test_no_smoke_numbers_are_committed() -> None:
    assert list(RESULTS.rglob("*quick*")) == []
