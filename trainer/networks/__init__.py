"""Architectures by name."""

from collections.abc import Callable

from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.split import SplitNetwork

__all__ = ["NETWORKS", "SplitNetwork"]

NETWORKS: dict[str, Callable[[int], SplitNetwork]] = {"badnets-cnn": badnets_cnn}
"""One entry under each name of ``model_zoo.jobs.NetworkName``: classes -> network."""
