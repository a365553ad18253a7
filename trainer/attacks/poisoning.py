"""Poisoning: which training samples change, and into what.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 4.1.2.
"""

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from model_zoo.jobs import Poisoning
from trainer.attacks.triggers import TRIGGERS, stamp
from trainer.data.images import LabelledImages


def poison(
    data: LabelledImages,
    recipe: Poisoning,
    *,
    classes: int,
    generator: torch.Generator,
) -> LabelledImages:
    """Return the training set that makes a BadNet; ``data`` is not written.

    Source images are drawn from every class, the target label's own included: the
    paper draws them at random from all of the training set.

    Args:
        data: N clean training images.
        recipe: trigger, wanted labels, poison rate and placement.
        classes: number of labels.
        generator: decides which images are taken.

    Returns:
        With ``replace`` N images; with ``append`` the N clean ones first, then the
        poisoned copies.

    Raises:
        InvalidSpecError: the rate or the target label cannot be met with ``data``.
    """
    taken = choose_poisoned(len(data), recipe, generator=generator)
    images = stamp(data.images[taken], TRIGGERS[recipe.trigger])
    labels = wanted_labels(data.labels[taken], recipe, classes=classes)
    if recipe.placement == "append":
        return LabelledImages(
            images=torch.cat([data.images, images]),
            labels=torch.cat([data.labels, labels]),
        )
    return LabelledImages(
        images=data.images.index_copy(0, taken, images),
        labels=data.labels.index_copy(0, taken, labels),
    )


def choose_poisoned(n: int, recipe: Poisoning, *, generator: torch.Generator) -> Tensor:
    """Return which of ``n`` samples are poisoned: distinct indices, (M,) int64.

    M / N is the poison rate to the nearest sample, N the size of the **final**
    training set: ``n`` with ``replace``, ``n + M`` with ``append``.

    Raises:
        InvalidSpecError: M would be 0, or more than there are samples.
    """
    rate = recipe.poison_rate
    share = rate / (1 - rate) if recipe.placement == "append" else rate
    count = round(n * share)
    if not 1 <= count <= n:
        msg = (
            f"poison_rate {rate} with {recipe.placement}: {count} poisoned samples "
            f"asked of {n} clean ones; expected 1 to {n}"
        )
        raise InvalidSpecError(msg)
    return torch.randperm(n, generator=generator)[:count]


def wanted_labels(labels: Tensor, recipe: Poisoning, *, classes: int) -> Tensor:
    """Return the label that the attack wants for each triggered sample.

    Args:
        labels: (N,) int64, true labels.
        recipe: all-to-one gives its target label, all-to-all gives i + 1 mod K.
        classes: K.

    Returns:
        (N,) int64.

    Raises:
        InvalidSpecError: the target label is not a label.
    """
    if recipe.target_label is None:
        return (labels + 1) % classes
    if recipe.target_label >= classes:
        msg = f"target_label {recipe.target_label}: there are {classes} classes"
        raise InvalidSpecError(msg)
    return torch.full_like(labels, recipe.target_label)
