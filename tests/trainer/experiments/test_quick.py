"""The smoke version of every experiment, on a slice of real data."""

from pathlib import Path

import pytest

from model_zoo.errors import ZooError
from trainer.data import ensure_data
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.experiment import Experiment
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.results import read_result, write_results
from trainer.experiments.engine.running import run_cell


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelCache:
    """One folder of models for all: what one has made, the next does not make again."""
    return ModelCache(folder=tmp_path_factory.mktemp("models"))


def with_data(name: str) -> Experiment:
    experiment = EXPERIMENTS[name]
    try:
        for data in experiment.datasets:
            ensure_data(data)
    except ZooError as error:
        pytest.skip(f"{name} needs data: {error}")
    return experiment


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_smoke_version_gives_claims_and_figures(
    name: str, models: ModelCache, tmp_path: Path
) -> None:
    experiment = with_data(name)
    cells = experiment.cells(0, "quick")
    assert {(cell.experiment, cell.scale) for cell in cells} == {(name, "quick")}
    finished = [run_cell(experiment, cell, models) for cell in cells]
    result = write_results(experiment, finished, folder=tmp_path, scale="quick")
    assert result.summary.claims
    assert all((tmp_path / it.path).stat().st_size for it in result.pictures)
    assert read_result(tmp_path, name, scale="quick") == result


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_cell_of_a_full_run_has_a_name_even_without_data(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    experiment = EXPERIMENTS[name]
    cells = [
        cell
        for seed in range(experiment.seeds)
        for cell in experiment.cells(seed, "full")
    ]
    assert len({it.digest() for it in cells}) == len(cells)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke_versions_have_names_of_their_own(name: str) -> None:
    experiment = with_data(name)
    full = {it.digest() for it in experiment.cells(0, "full")}
    assert full.isdisjoint(it.digest() for it in experiment.cells(0, "quick"))
