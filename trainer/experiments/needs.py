"""What an experiment needs on this machine before it can begin."""

from trainer.data import DATASETS, SCENES
from trainer.data.dataset import SPLITS
from trainer.experiments.contract import Experiment


def require_data(experiment: Experiment) -> None:
    """Make sure that its data sets are on this machine, downloading what can be.

    Raises:
        LocalError: one is not there or damaged; the message says what to put where.
        TransportError: one cannot be downloaded.
    """
    for name in experiment.datasets:
        if name in DATASETS:
            DATASETS[name].ensure()
        else:
            for split in SPLITS:
                SCENES[name].load(split)
