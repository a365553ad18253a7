"""Where networks are measured is where their models are, and what is recorded."""

from pathlib import Path

import torch

from tests.trainer.experiments.samples import cells, made_up
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.running import run_cell

EXPERIMENTS = Path(__file__).parents[3] / "trainer" / "experiments"


def test_no_experiment_names_a_device() -> None:
    sources = [it for it in EXPERIMENTS.rglob("*.py") if it.name != "models.py"]
    assert len(sources) > 20
    naming = [it.name for it in sources if "torch.device(" in it.read_text()]
    assert naming == []


def test_a_cell_records_the_device_it_was_measured_on_and_fp32(tmp_path: Path) -> None:
    models = ModelCache(folder=tmp_path, device=torch.device("meta"))
    (first, _) = cells(0, "quick")
    found = run_cell(made_up(), first, models).environment
    assert (found["device"], found["precision"]) == ("meta", "fp32")
