"""TED: from layer to layer, an image stays near clean images of the label it is given.

A triggered one starts near those of the class it shows, and is given another label.

Source:
    Mo, Zhang, Zhang, Luo, Sun, Hu, Gao, Xiang, "Robust Backdoor Detection for Deep
    Learning via Topological Evolution Dynamics", arXiv:2312.02673. The ranks are the
    paper's; in the place of its outlier detector their logarithms are summed.
"""

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from trainer.data.images import LabelledImages
from trainer.defenses.guards.watch import Scores
from trainer.networks import SplitNetwork
from trainer.networks.activations import before_gates
from trainer.networks.inference import as_floats

REFERENCES = 1_000
"""Clean images that inputs are compared with; as many of each label."""
SOME = 250
"""Inputs that are compared at a time."""


def ted(
    network: SplitNetwork, clean: LabelledImages, generator: torch.Generator
) -> Scores:
    """Return how many references are nearer than one of the label that is given.

    That is the sum of log(1 + rank) over all layers with a gate, and the logits.
    References are clean images that the network answers right.

    Raises:
        InvalidSpecError: it has no gate that is a module, or answers images of fewer
            than two labels right.
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        references, labels = _references(network, clean, generator)
        layers = _layers(network, as_floats(references.to(device)))
    labels = labels.to(device)
    if len(layers) == 1:
        msg = "ted: the network has no layer with a ReLU or GELU that is a module"
        raise InvalidSpecError(msg)

    def scores(images: Tensor) -> Tensor:
        return torch.cat(
            [
                _summed(_layers(network, it), layers, labels)
                for it in torch.split(images, SOME)
            ]
        )

    return scores


def _summed(found: list[Tensor], layers: list[Tensor], labels: Tensor) -> Tensor:
    """Return (n,) float64 of the activations of n inputs and of the references."""
    others = found[-1].argmax(1)[:, None] != labels
    total = torch.zeros(len(others), dtype=torch.float64, device=labels.device)
    for its, reference in zip(found, layers, strict=True):
        apart = torch.cdist(its, reference)
        # where no reference has the label, all others are nearer
        nearest = apart.masked_fill(others, torch.inf).amin(1, keepdim=True)
        total += (apart < nearest).sum(1).double().log1p()
    return torch.where(found[-1].isfinite().all(1), total, torch.nan)


def _references(
    network: SplitNetwork, clean: LabelledImages, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return images that are answered right, and their labels."""
    device = next(network.parameters()).device
    answers = torch.cat(
        [
            network(as_floats(it.to(device))).argmax(1).cpu()
            for it in torch.split(clean.images, SOME)
        ]
    )
    right = (answers == clean.labels).nonzero()[:, 0]
    right = right[torch.randperm(len(right), generator=generator)]
    of_each = max(1, REFERENCES // network.classes)
    chosen = [
        right[clean.labels[right] == label][:of_each]
        for label in range(network.classes)
    ]
    labels = sum(len(it) > 0 for it in chosen)
    if labels <= 1:
        msg = f"ted: the network answers images of {labels} labels right; 2 are needed"
        raise InvalidSpecError(msg)
    places = torch.cat(chosen)
    return clean.images[places], clean.labels[places]


def _layers(network: SplitNetwork, images: Tensor) -> list[Tensor]:
    """Return (n, d) of every layer with a gate behind it, and the logits last."""
    found: list[Tensor] = []

    def note(_: str, given: Tensor) -> None:
        found.append(given.relu().flatten(1))

    with before_gates(network, note):
        logits = network(images)
    return [*found, logits]
