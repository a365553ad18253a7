"""Drawing: fewer of a training set's images, unevenly, or some of them mislabelled."""

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Draw
from trainer.data.images import LabelledImages


def drawn(
    data: LabelledImages, draw: Draw, *, classes: int, generator: torch.Generator
) -> LabelledImages:
    """Return the images that ``draw`` leaves, in an order that is drawn.

    Args:
        data: N images.
        draw: how many, how unevenly, and how many of them mislabelled.
        classes: number of labels.
        generator: on the CPU, draws.

    Raises:
        InvalidSpecError: there are not that many images.
    """
    order = torch.randperm(len(data), generator=generator)
    if draw.imbalance > 1:
        kept = _kept(data.labels[order], draw.imbalance, classes, generator)
        order = order[kept]
    wanted = len(order) if draw.images is None else draw.images
    if wanted > len(order):
        msg = f"draw.images {wanted}: there are {len(order)} to draw from"
        raise InvalidSpecError(msg)
    left = data.select(order[:wanted])
    wrong = torch.randperm(wanted, generator=generator)
    wrong = wrong[: round(draw.label_noise * wanted)]
    shift = torch.randint(1, classes, wrong.shape, generator=generator)
    noisy = (left.labels[wrong] + shift) % classes
    return left.relabelled(left.labels.index_copy(0, wrong, noisy))


def _kept(
    labels: Tensor, imbalance: float, classes: int, generator: torch.Generator
) -> Tensor:
    """Return which samples stay: of the k-th class of K, imbalance^(-k / (K - 1))."""
    rank = torch.randperm(classes, generator=generator)
    share = imbalance ** -(rank / max(1, classes - 1))
    return torch.rand(labels.shape, generator=generator) < share[labels]
