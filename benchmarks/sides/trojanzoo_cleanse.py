"""TrojanZoo's Neural Cleanse, driven through its own ``get_mark_loss_list``.

It wants a dataset, a model and an attack of its own around the network: here they are
namespaces with what that loop asks of them. Not a line of it is changed.
"""

import contextlib
import importlib
import io
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.sides.cleanse import answer, index_of
from trainer.data import LabelledImages
from trainer.networks import SplitNetwork

SETTINGS = {
    "defense_remask_lr": 0.1,
    "cost": 1e-3,
    "init_cost": 1e-3,
    "cost_multiplier_up": 1.5,
    "cost_multiplier_down": 1.5**1.5,
    "nc_asr_threshold": 0.99,
    "nc_early_stop_threshold": 0.99,
    "nc_patience": 10.0,
    "early_stop_patience": 20.0,
    "mark_random_pos": False,
}
"""Its defaults."""


def search(
    network: SplitNetwork, images: LabelledImages, task: dict[str, Any]
) -> tuple[float, int]:
    """Return the anomaly index, and the image passes."""
    sys.path.insert(0, task["checkout"])
    name = "trojanvision.defenses.backdoor.model_inspection.neural_cleanse"
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        kind = importlib.import_module(name).NeuralCleanse
        model = _Model(network)
        peer = kind.__new__(kind)
        vars(peer).update(
            SETTINGS,
            defense_remask_epoch=task["epochs"],
            folder_path=folder,
            model=model,
            attack=_attack(network),
            dataset=SimpleNamespace(loader={"train": _loader(images, task)}),
            get_filename=lambda: "found",
        )
        marks, _, _ = peer.get_mark_loss_list(verbose=False)
    norms = marks[:, -1].flatten(1).norm(p=1, dim=1)
    return index_of(norms.tolist()), model.passes


class _Model:
    """What the loop asks of a model."""

    def __init__(self, network: SplitNetwork) -> None:
        self.network = network.requires_grad_(requires_grad=False)
        self.num_classes = network.classes
        self.passes = 0

    def __call__(self, shown: torch.Tensor) -> torch.Tensor:
        self.passes += len(shown)
        logits: torch.Tensor = self.network(shown)
        return logits

    def loss(
        self, _: torch.Tensor, label: torch.Tensor, *, _output: torch.Tensor
    ) -> torch.Tensor:
        loss: torch.Tensor = functional.cross_entropy(_output, label)
        return loss

    @staticmethod
    def get_data(data: Any) -> Any:  # noqa: ANN401  a peer's
        return data

    @staticmethod
    def _validate(**_: object) -> tuple[float, float]:
        return 0.0, 0.0  # what it prints afterwards, and decides nothing


def _attack(network: SplitNetwork) -> SimpleNamespace:
    channels, height, width = network.image_shape
    mark = SimpleNamespace(mark=torch.zeros(channels + 1, height, width))

    def add_mark(shown: torch.Tensor) -> torch.Tensor:
        pattern, mask = mark.mark[:-1], mark.mark[-1]
        marked: torch.Tensor = shown * (1 - mask) + pattern * mask
        return marked

    return SimpleNamespace(mark=mark, add_mark=add_mark, target_class=0)


def _loader(images: LabelledImages, task: dict[str, Any]) -> DataLoader[Any]:
    return DataLoader(
        TensorDataset(images.images.float() / 255, images.labels),
        batch_size=task["batch_size"],
        shuffle=True,
    )


if __name__ == "__main__":
    answer(search)
