"""Where two networks answer differently: on data, on noise, and where one looks for it.

A network that was fine-tuned differs from its parent where images are hard. One that
was given a rule differs on whatever carries it, and that can be looked for without
knowing it: one perturbation, laid on every image alike, that turns the newer network's
answers and leaves the older one's. It is found on one half of the images and judged on
the other.

Source:
    Moosavi-Dezfooli et al., "Universal adversarial perturbations", CVPR 2017; here of
    the difference between two networks.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.evaluation import Proportion
from trainer.data.images import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, predict

RANDOM_IMAGES = 500
GRAINS = (1, 4)
"""Sides of the squares of which random images consist, in pixels."""
BOUNDS = (0.1, 0.2, 0.3)
"""Of the perturbation: its L2 norm over that of a change of every value by 1."""
STEPS = 25
MOST_SEARCHED = 64
"""Images on which a perturbation is looked for."""
MOST_JUDGED = 256
HALVES = 2
ENOUGH = 10.0
"""A margin of logits that does not count for more: one image must not decide."""
SHOWN = 8


class LabelChanges(Document):
    """How two networks answer the same images.

    Attributes:
        agreed: how many get the same label from both.
        changes: changes[i][j] is how many get i from the older one and j from the
            newer one.
    """

    agreed: Proportion
    changes: tuple[tuple[int, ...], ...]


class Perturbed(Document):
    """What one perturbation does that was looked for, on images not used for that.

    Attributes:
        bound: of its L2 norm, over that of a change of every value by 1.
        turned: how many of the images both networks gave one label before get another
            one from the newer network, and still that one from the older.
        answers: how they answer the perturbed images.
    """

    bound: float
    turned: Proportion | None
    answers: LabelChanges


class BehaviourComparison(Document):
    """Where two networks disagree.

    Attributes:
        data: on images that were given; None without.
        accuracy: of the older and the newer one on those; None without.
        noise: on random images.
        perturbed: on images with one perturbation each bound, which was looked for.
        start: what the perturbed images were: ``data`` or ``noise``.
    """

    data: LabelChanges | None
    accuracy: tuple[Proportion, Proportion] | None
    noise: LabelChanges
    perturbed: tuple[Perturbed, ...]
    start: Literal["data", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Some of the images with the last perturbation, and what both answer to them.

    Attributes:
        before: (N, C, H, W) uint8.
        after: the same with the perturbation.
        answers: (N, 4) int64: the older one's and the newer one's label before, and
            after.
    """

    before: Tensor
    after: Tensor
    answers: Tensor


def compare_behaviour(
    old: SplitNetwork,
    new: SplitNetwork,
    *,
    data: LabelledImages | None,
    device: torch.device,
) -> tuple[BehaviourComparison, Shown]:
    """Return where two networks disagree, and some images on which they do.

    Args:
        old: moved to ``device``; its weights are left as they are.
        new: the same; of as many labels, for images of the same shape.
        data: at least one image, clean as far as one knows; None if there are none.
        device: where both run.

    Raises:
        InvalidSpecError: they have other numbers of labels, or read other images.
    """
    _require_comparable(old, new)
    generator = torch.Generator().manual_seed(0)
    noise = random_images(old.image_shape, generator=generator)
    start = noise if data is None or len(data) < HALVES else data.images
    chosen = torch.randperm(len(start), generator=generator)
    one, other = start[chosen].tensor_split(HALVES)
    search, judge = one[:MOST_SEARCHED], other[:MOST_JUDGED]
    before = _answers(old, new, judge, device)
    perturbed, after, answers = [], judge, before
    added = torch.zeros(old.image_shape)
    for bound in BOUNDS:  # each one begins where a smaller one ended
        with reproducible(device):
            added = separating(old, new, search, bound=bound, start=added)
        after = _quantised(as_floats(judge) + added)
        answers = _answers(old, new, after, device)
        perturbed.append(_perturbed(bound, before, answers, classes=old.classes))
    shown = torch.cat([before, answers], dim=1)
    first = (answers[:, 0] == answers[:, 1]).int().argsort(stable=True)[:SHOWN]
    found = BehaviourComparison(
        **_on_data(old, new, data, device),
        noise=label_changes(_answers(old, new, noise, device), classes=old.classes),
        perturbed=tuple(perturbed),
        start="noise" if start is noise else "data",
    )
    return found, Shown(before=judge[first], after=after[first], answers=shown[first])


def random_images(shape: tuple[int, int, int], *, generator: torch.Generator) -> Tensor:
    """Return RANDOM_IMAGES (N, C, H, W) uint8 images of squares, each of one colour.

    Args:
        shape: C, H and W.
        generator: draws them.
    """
    channels, height, width = shape
    parts = []
    for grain in GRAINS:
        small = (channels, -(-height // grain), -(-width // grain))
        count = RANDOM_IMAGES // len(GRAINS)
        drawn = torch.randint(
            256, (count, *small), dtype=torch.uint8, generator=generator
        )
        large = drawn.repeat_interleave(grain, 2).repeat_interleave(grain, 3)
        parts.append(large[..., :height, :width])
    return torch.cat(parts)


def separating(
    old: SplitNetwork,
    new: SplitNetwork,
    images: Tensor,
    *,
    bound: float,
    start: Tensor,
) -> Tensor:
    """Return one perturbation that turns the newer network's answers, not the older's.

    Steps along the gradient of both margins, to the label that the older one gives
    without it; ``start``, if the networks are the same.

    Args:
        old: evaluating.
        new: the same, on the same device.
        images: (N, C, H, W) uint8, at least one.
        bound: of its L2 norm, over that of a change of every value by 1.
        start: (C, H, W) float32, where to begin.

    Returns:
        (C, H, W) float32 on the CPU, to be added to images in [0, 1].
    """
    device = next(old.parameters()).device
    floats = as_floats(images.to(device))
    with torch.inference_mode():
        wanted = old(floats).argmax(1)
    radius = bound * floats[0].numel() ** 0.5
    added = start.to(device)
    for _ in range(STEPS):
        gradient = _ascent(old, new, (floats + added).clamp(0, 1), wanted).sum(0)
        length = gradient.norm()
        if not length > 0:
            break
        added = added + gradient * (radius / 4 / length)
        added = added * (radius / added.norm()).clamp(max=1)
    return added.cpu()


def _ascent(
    old: SplitNetwork, new: SplitNetwork, shown: Tensor, wanted: Tensor
) -> Tensor:
    """Return where ``shown``, (N, C, H, W) in [0, 1], should go to separate the two.

    Of black and of white pixels the way out of [0, 1] is left out, and only that: the
    gradient of ``clamp`` is 0 there for both ways.
    """
    shown.requires_grad_()
    turned = _margin(new(shown), wanted).clamp(max=ENOUGH)
    kept = (-_margin(old(shown), wanted)).clamp(max=ENOUGH)
    (gradient,) = torch.autograd.grad((turned + kept).sum(), shown)
    inside = ((shown > 0) | (gradient > 0)) & ((shown < 1) | (gradient < 0))
    return gradient * inside


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the best other label leads, (N,)."""
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).amax(1) - logits[own]


def _quantised(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def _require_comparable(old: SplitNetwork, new: SplitNetwork) -> None:
    for what, one, other in (
        ("labels", old.classes, new.classes),
        ("image shape", old.image_shape, new.image_shape),
    ):
        if one != other:
            msg = f"{what}: {one} in the older network, {other} in the newer one"
            raise InvalidSpecError(msg)


def _answers(
    old: SplitNetwork, new: SplitNetwork, images: Tensor, device: torch.device
) -> Tensor:
    """Return the labels that both give, (N, 2) int64: the older one's first."""
    return torch.stack([predict(it, images, device=device) for it in (old, new)], dim=1)


def label_changes(answers: Tensor, *, classes: int) -> LabelChanges:
    """Return a pair of answers an image, (N, 2) int64 with N at least 1, as a table."""
    pairs = answers[:, 0] * classes + answers[:, 1]
    table = pairs.bincount(minlength=classes**2).reshape(classes, classes)
    return LabelChanges(
        agreed=Proportion(successes=int(table.trace()), n=len(answers)),
        changes=tuple(map(tuple, table.tolist())),
    )


def _perturbed(
    bound: float, before: Tensor, after: Tensor, *, classes: int
) -> Perturbed:
    same = before[:, 0] == before[:, 1]
    kept = same & (after[:, 0] == before[:, 0])
    turned = int((kept & (after[:, 1] != before[:, 1])).sum())
    n = int(same.sum())
    return Perturbed(
        bound=bound,
        turned=Proportion(successes=turned, n=n) if n else None,
        answers=label_changes(after, classes=classes),
    )


def _on_data(
    old: SplitNetwork,
    new: SplitNetwork,
    data: LabelledImages | None,
    device: torch.device,
) -> dict[str, Any]:
    """Return the fields that tell of images which were given."""
    if data is None:
        return {"data": None, "accuracy": None}
    answers = _answers(old, new, data.images, device)
    right = (answers == data.labels[:, None]).sum(0).tolist()
    shares = tuple(Proportion(successes=it, n=len(data)) for it in right)
    changes = label_changes(answers, classes=old.classes)
    return {"data": changes, "accuracy": shares}
