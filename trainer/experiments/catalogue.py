"""The catalogue: every experiment by name, in the order of the paper."""

from trainer.experiments import (
    cats_and_dogs,
    conversion_survival,
    mnist_all_to_all,
    mnist_baseline,
    mnist_filters,
    mnist_poison_fraction,
    mnist_single_target,
    signs_detector,
    signs_full_retrain,
    signs_neurons,
    signs_outsourced,
    signs_strengthening,
    signs_transfer,
    zoo_audit,
)
from trainer.experiments.engine.contract import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    it.name: it
    for it in (
        mnist_baseline.EXPERIMENT,
        mnist_single_target.EXPERIMENT,
        mnist_all_to_all.EXPERIMENT,
        mnist_poison_fraction.EXPERIMENT,
        mnist_filters.EXPERIMENT,
        signs_outsourced.EXPERIMENT,
        signs_detector.EXPERIMENT,
        signs_neurons.EXPERIMENT,
        signs_transfer.EXPERIMENT,
        signs_strengthening.EXPERIMENT,
        signs_full_retrain.EXPERIMENT,
        cats_and_dogs.EXPERIMENT,
        conversion_survival.EXPERIMENT,
        zoo_audit.EXPERIMENT,
    )
}
"""In the order of the paper."""
