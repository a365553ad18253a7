"""What an experiment needs on this machine before it can begin."""

from collections.abc import Iterable

from model_zoo.errors import LocalError
from trainer.data import data_digest, ensure_data
from trainer.experiments.contract import Experiment, Finished


def require_data(experiment: Experiment) -> None:
    """Make sure that its data sets are on this machine, downloading what can be.

    Raises:
        LocalError: one is not there or damaged; the message says what to put where.
        TransportError: one cannot be downloaded.
    """
    for name in experiment.datasets:
        ensure_data(name)


def require_same_data(experiment: Experiment, finished: Iterable[Finished]) -> None:
    """Make sure that finished cells were measured on the data of this machine.

    Raises:
        LocalError: one was not, or a data set is not there.
    """
    for name in experiment.datasets:
        ours = data_digest(name)
        for it in finished:
            theirs = it.data.get(name)
            if theirs != ours:
                msg = (
                    f"{experiment.name}: its finished cells were measured on other "
                    f"files of {name} (SHA-256 {theirs}) than those on this machine "
                    f"({ours}); run yours in a folder of your own, with --out FOLDER"
                )
                raise LocalError(msg)
