"""What an experiment needs on this machine before it can begin."""

from trainer.data import ensure_data
from trainer.experiments.contract import Experiment


def require_data(experiment: Experiment) -> None:
    """Make sure that its data sets are on this machine, downloading what can be.

    Raises:
        LocalError: one is not there or damaged; the message says what to put where.
        TransportError: one cannot be downloaded.
    """
    for name in experiment.datasets:
        ensure_data(name)
