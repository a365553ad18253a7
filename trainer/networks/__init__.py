"""Architectures by name."""

from collections.abc import Callable

from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.efficientnet_lite0 import efficientnet_lite0
from trainer.networks.pets_cnn import pets_cnn
from trainer.networks.signs_cnn import signs_cnn
from trainer.networks.split import SplitNetwork

__all__ = ["NETWORKS", "SplitNetwork"]

NETWORKS: dict[str, Callable[[int], SplitNetwork]] = {
    "badnets-cnn": badnets_cnn,
    "signs-cnn": signs_cnn,
    "pets-cnn": pets_cnn,
    "efficientnet-lite0": efficientnet_lite0,
}
"""One entry under each name of ``statements.jobs.NetworkName``: classes -> network."""
