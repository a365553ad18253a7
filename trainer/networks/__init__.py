"""Architectures by name."""

from collections.abc import Callable

from trainer.installed import Registry
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.efficientnet_lite0 import efficientnet_lite0
from trainer.networks.pets_cnn import pets_cnn
from trainer.networks.signs_cnn import signs_cnn
from trainer.networks.split import SplitNetwork
from trainer.networks.tiny_vit import tiny_vit

__all__ = ["NETWORKS", "SplitNetwork"]

NETWORKS: Registry[Callable[[int], SplitNetwork]] = Registry(
    "networks",
    {
        "badnets-cnn": badnets_cnn,
        "signs-cnn": signs_cnn,
        "pets-cnn": pets_cnn,
        "efficientnet-lite0": efficientnet_lite0,
        "tiny-vit": tiny_vit,
    },
)
"""Number of classes -> network, with fresh weights of torch's global generator.

One entry under each name of ``statements.recipes.NETWORKS``.
"""
