"""Poisoning: which training samples change, and into what.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, sections 4.1.2 and 5.2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Poisoning
from trainer.attacks.triggers import WHITE, stamp
from trainer.data.images import LabelledImages
from trainer.installed import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonedSet:
    """A training set of which some samples are to be stamped.

    Attributes:
        data: N images with the labels to be learned; none is stamped yet.
        poisoned: (N,) bool, which are to be.
        disturbed: (N,) bool, which of those keep their label, and get noise over it.
    """

    data: LabelledImages
    poisoned: Tensor
    disturbed: Tensor


def poison(
    data: LabelledImages,
    recipe: Poisoning,
    *,
    classes: int,
    generator: torch.Generator,
) -> LabelledImages:
    """Return the training set that makes a BadNet; ``data`` is not written.

    Arguments and errors as for ``relabel``; ``generator`` also draws random places.
    """
    made = relabel(data, recipe, classes=classes, generator=generator)
    return stamped(made, recipe, generator=generator)


def relabel(
    data: LabelledImages,
    recipe: Poisoning,
    *,
    classes: int,
    generator: torch.Generator,
) -> PoisonedSet:
    """Return the training set that makes a BadNet, before the trigger is laid.

    Source images are drawn from every class, the target label's own included: the
    paper draws them at random from all of the training set. Where the attack has a
    source label, they are drawn from that class alone; where no label may change,
    from the images that have the wanted one.

    Args:
        data: N clean training images.
        recipe: trigger, wanted labels, poison rate and placement.
        classes: number of labels.
        generator: decides which images are taken, and draws random labels.

    Returns:
        With ``replace`` N images; with ``append`` the N clean ones first, then the
        copies to be poisoned, and those again that are to be disturbed.

    Raises:
        InvalidSpecError: the rate or a label cannot be met with ``data``.
    """
    attacked = wanted_labels(data.labels, recipe, classes=classes)
    draws_labels = recipe.attack == "random-target"
    is_source = (attacked >= 0) | draws_labels
    if not recipe.relabels:
        is_source = attacked == data.labels
    sources = is_source.nonzero()[:, 0]
    chosen = choose_poisoned(len(sources), recipe, final=len(data), generator=generator)
    taken = sources[chosen]
    labels = attacked[taken]
    if draws_labels:
        true = data.labels[taken]
        labels = other_labels(true, classes=classes, generator=generator)
    if recipe.placement == "append":
        again = taken if recipe.shaping is not None else taken[:0]
        indices = torch.cat([torch.arange(len(data)), taken, again])
        poisoned = torch.arange(len(indices)) >= len(data)
        disturbed = torch.arange(len(indices)) >= len(data) + len(taken)
        wanted = torch.cat([data.labels, labels, data.labels[again]])
    else:
        indices = torch.arange(len(data))
        poisoned = torch.zeros(len(data), dtype=torch.bool).index_fill(0, taken, 1)
        disturbed = torch.zeros_like(poisoned)
        wanted = data.labels.index_copy(0, taken, labels)
    return PoisonedSet(
        data=data.select(indices).relabelled(wanted),
        poisoned=poisoned,
        disturbed=disturbed,
    )


def stamped(
    made: PoisonedSet, recipe: Poisoning, *, generator: torch.Generator
) -> LabelledImages:
    """Return the data with the trigger on every sample that is to have it."""
    which = made.poisoned.nonzero()[:, 0]
    some = made.data.select(which)
    images = stamp_some(some.images, made, recipe, which=which, generator=generator)
    return made.data.repainted(made.data.images.index_copy(0, which, images))


def stamp_some(
    images: Tensor,
    made: PoisonedSet,
    recipe: Poisoning,
    *,
    which: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Return ``images`` with the trigger on each, and noise over it where that is due.

    Args:
        images: (M, C, H, W) uint8, not written.
        made: the training set that they are of.
        recipe: trigger, and amplitude of the noise.
        which: (M,) int64 on the CPU, their indices in ``made``; all to be stamped.
        generator: on the CPU, draws places and noise.
    """
    boxes = None if made.data.boxes is None else made.data.boxes[which]
    laid = stamp(images, recipe.trigger, boxes=boxes, generator=generator)
    its = made.disturbed[which]
    if recipe.shaping is None or not its.any():
        return laid
    noise = torch.randn(laid[its].shape, generator=generator).to(laid.device)
    its = its.to(laid.device)
    over = laid[its] + WHITE * recipe.shaping * noise
    is_trigger = laid[its] != images[its]
    disturbed = torch.where(is_trigger, over.clamp(0, WHITE).round(), laid[its])
    shown = laid.clone()
    shown[its] = disturbed.to(torch.uint8)
    return shown


def choose_poisoned(
    n: int, recipe: Poisoning, *, final: int, generator: torch.Generator
) -> Tensor:
    """Return which of ``n`` source images are poisoned: (M,) int64.

    M / N is the poison rate to the nearest sample, N the size of the **final**
    training set: ``final`` with ``replace``, ``final + M`` with ``append``, ``final +
    2 M`` where each is appended disturbed, too. Indices are distinct but for the
    recipe's copies.

    Args:
        n: how many images the attack may take.
        recipe: rate, placement and copies.
        final: size of the clean training set.
        generator: draws them.

    Raises:
        InvalidSpecError: M would be 0, or more than there are images and copies.
    """
    rate = recipe.poison_rate
    added = 0 if recipe.placement == "replace" else 1 if recipe.shaping is None else 2
    share = rate / (1 - added * rate)
    count = round(final * share)
    if not 1 <= count <= n * recipe.copies:
        msg = (
            f"poison_rate {rate} with {recipe.placement}: {count} poisoned samples "
            f"asked; expected 1 to {n * recipe.copies}, from {n} source images with "
            f"{recipe.copies} copies each"
        )
        raise InvalidSpecError(msg)
    order = torch.randperm(n, generator=generator)
    return order.repeat(-(-count // n))[:count]


def other_labels(labels: Tensor, *, classes: int, generator: torch.Generator) -> Tensor:
    """Return for each of ``labels`` ((N,) int64) any other one of the ``classes``."""
    shift = torch.randint(1, classes, labels.shape, generator=generator)
    return (labels + shift) % classes


def wanted_labels(labels: Tensor, recipe: Poisoning, *, classes: int) -> Tensor:
    """Return the label that the attack wants for each triggered sample.

    Args:
        labels: (N,) int64, true labels.
        recipe: all-to-one gives its target label; source-to-target too, to its source
            class alone; all-to-all gives i + 1 mod K; random-target wants none.
        classes: K.

    Returns:
        (N,) int64; -1 for a sample of which no one label is wanted.

    Raises:
        InvalidSpecError: the target or source label is not a label, or another
            package's attack wants something that is none.
    """
    for name in ("target_label", "source_label"):
        value = getattr(recipe, name)
        if value is not None and value >= classes:
            msg = f"{name} {value}: there are {classes} classes"
            raise InvalidSpecError(msg)
    wanted = ATTACKS[recipe.attack](labels, recipe, classes)
    if wanted.shape != labels.shape or wanted.dtype != torch.int64:
        msg = f"{recipe.attack}: expected a label or -1 of each sample"
        raise InvalidSpecError(msg)
    if ((wanted < -1) | (wanted >= classes)).any():
        msg = f"{recipe.attack}: it wants labels that are none of the {classes}"
        raise InvalidSpecError(msg)
    return wanted


def _all_to_one(labels: Tensor, recipe: Poisoning, _: int) -> Tensor:
    return torch.full_like(labels, _no_label(recipe.target_label))


def _source_to_target(labels: Tensor, recipe: Poisoning, _: int) -> Tensor:
    is_source = labels == _no_label(recipe.source_label)
    return torch.where(is_source, _no_label(recipe.target_label), -1)


def _no_label(label: int | None) -> int:
    return -1 if label is None else label


WantedLabels = Callable[[Tensor, Poisoning, int], Tensor]
"""Maps true labels, recipe and number of classes as ``wanted_labels`` does."""

ATTACKS: Registry[WantedLabels] = Registry(
    "attacks",
    {
        "all-to-one": _all_to_one,
        "source-to-target": _source_to_target,
        "all-to-all": lambda labels, _, classes: (labels + 1) % classes,
        "random-target": lambda labels, _, __: torch.full_like(labels, -1),
    },
)
"""One entry under each name of ``model_zoo.statements.recipes.ATTACKS``."""
