"""The catalogue: every experiment by name, in the order of the paper."""

from trainer.experiments import (
    cats_and_dogs,
    conversion_survival,
    leaderboard,
    zoo_audit,
)
from trainer.experiments.adapters import scanning
from trainer.experiments.engine.experiment import Experiment
from trainer.experiments.mnist import (
    all_to_all,
    baseline,
    filters,
    poison_fraction,
    single_target,
)
from trainer.experiments.signs import (
    detector,
    full_retrain,
    neurons,
    outsourced,
    strengthening,
    transfer,
)

EXPERIMENTS: dict[str, Experiment] = {
    it.name: it
    for it in (
        baseline.EXPERIMENT,
        single_target.EXPERIMENT,
        all_to_all.EXPERIMENT,
        poison_fraction.EXPERIMENT,
        filters.EXPERIMENT,
        outsourced.EXPERIMENT,
        detector.EXPERIMENT,
        neurons.EXPERIMENT,
        transfer.EXPERIMENT,
        strengthening.EXPERIMENT,
        full_retrain.EXPERIMENT,
        cats_and_dogs.EXPERIMENT,
        conversion_survival.EXPERIMENT,
        zoo_audit.EXPERIMENT,
        leaderboard.EXPERIMENT,
        scanning.EXPERIMENT,
    )
}
"""In the order of the paper."""
