"""What an experiment needs on this machine before it can begin."""

from collections.abc import Mapping, Sequence

from model_zoo.errors import LocalError
from trainer.data import data_digest, ensure_data
from trainer.experiments.engine.contract import Cell, Experiment, Finished


def require_data(experiment: Experiment) -> None:
    """Make sure that its data sets are on this machine, downloading what can be.

    Raises:
        LocalError: one is not there or damaged; the message says what to put where.
        TransportError: one cannot be downloaded.
    """
    for name in experiment.datasets:
        ensure_data(name)


def require_same_origin(
    experiment: Experiment,
    cells: Sequence[Cell],
    *,
    finished: Mapping[str, Finished],
    made_by: str,
) -> None:
    """Make sure that finished cells are what this run would have measured.

    Args:
        experiment: whose cells they are.
        cells: that are asked for.
        finished: digest -> those of them that are finished.
        made_by: who would make their models now; empty if that is done here.

    Raises:
        LocalError: one was measured on other data, or on models of somebody else; or a
            data set is not there.
    """
    data = {name: data_digest(name) for name in experiment.datasets}
    apart = "; run yours in a folder of your own, with --out FOLDER"
    for cell in cells:
        it = finished.get(cell.digest())
        if it is None:
            continue
        for name, ours in data.items():
            if (theirs := it.data.get(name)) != ours:
                msg = (
                    f"{experiment.name}: its finished cells were measured on other "
                    f"files of {name} (SHA-256 {theirs}) than those on this machine "
                    f"({ours}){apart}"
                )
                raise LocalError(msg)
        if cell.recipes and it.made_by != made_by:
            msg = (
                f"{experiment.name}: the models of its finished cells were made "
                f"{_told(it.made_by)}, and not {_told(made_by)}{apart}"
            )
            raise LocalError(msg)


def _told(made_by: str) -> str:
    return f"by {' '.join(made_by.split())}" if made_by else "here"
