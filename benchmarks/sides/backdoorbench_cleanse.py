"""BackdoorBench's Neural Cleanse, driven through its own ``train_mask``.

It builds its network from a name and reads a global for it: both are set to the task's,
and its normalisation, of other data, is left out. Not a line of it is changed.
"""

import contextlib
import importlib
import io
import os
import sys
import tempfile
from argparse import Namespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.sides.cleanse import answer, index_of
from trainer.data import LabelledImages
from trainer.networks import SplitNetwork

SETTINGS = {
    "mask_lr": 0.1,
    "init_cost": 1e-3,
    "atk_succ_threshold": 98.0,
    "early_stop": True,
    "early_stop_threshold": 0.99,
    "early_stop_patience": 25,
    "patience": 5,
    "cost_multiplier": 2,
    "EPSILON": 1e-7,
    "use_norm": 1,
}
"""As in its config/defense/nc/config.yaml."""


def search(
    network: SplitNetwork, images: LabelledImages, task: dict[str, Any]
) -> tuple[float, int]:
    """Return the anomaly index, and the image passes."""
    sys.path.insert(0, task["checkout"])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # it writes pictures below the working directory
        with contextlib.redirect_stdout(io.StringIO()):
            peer = importlib.import_module("defense.nc")
            return _searched(peer, network, images, task)


def _searched(
    peer: Any,  # noqa: ANN401  a peer's module
    network: SplitNetwork,
    images: LabelledImages,
    task: dict[str, Any],
) -> tuple[float, int]:
    channels, height, width = network.image_shape
    passes = 0

    def counted(_: object, shown: tuple[torch.Tensor, ...]) -> None:
        nonlocal passes
        passes += len(shown[0])

    network.register_forward_pre_hook(counted)
    peer.generate_cls_model = lambda *_: network
    peer.RegressionModel._get_normalize = lambda *_: None  # noqa: SLF001  a peer's
    peer.RegressionModel._get_denormalize = lambda *_: None  # noqa: SLF001  a peer's
    loader = DataLoader(
        TensorDataset(images.images.float() / 255, images.labels),
        batch_size=task["batch_size"],
        shuffle=True,
    )
    norms = []
    for label in range(network.classes):
        peer.args = _settings(network, task, label)
        mask = np.ones((1, height, width)).astype(np.float32)
        pattern = np.ones((channels, height, width)).astype(np.float32)
        weights = {"model": network.state_dict()}
        recorder, _ = peer.train_mask(peer.args, weights, loader, mask, pattern)
        norms.append(recorder.mask_best.abs().sum().item())
    return index_of(norms), passes


def _settings(network: SplitNetwork, task: dict[str, Any], label: int) -> Namespace:
    channels, height, width = network.image_shape
    return Namespace(
        **SETTINGS,
        device="cpu",
        model="badnets-cnn",
        num_classes=network.classes,
        dataset="mnist",
        input_height=height,
        input_width=width,
        input_channel=channels,
        log="found/",
        nc_epoch=task["epochs"],
        target_label=label,
    )


if __name__ == "__main__":
    answer(search)
