"""Lessons: the network that a spec starts with, and what it is shown."""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from model_zoo.errors import MalformedDocumentError
from model_zoo.statements.jobs import SIZES, FineTuneSpec, Penalty, TrainSpec
from trainer.attacks.penalties import Batch, penalty
from trainer.attacks.poisoning import PoisonedSet, relabel, stamp_some, stamped
from trainer.data import LabelledImages
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.checkpoints import from_bytes
from trainer.networks.inference import as_floats
from trainer.training.augmentation import augmentation
from trainer.training.fit import Augment, Penalise, Runtime, seeded_globals
from trainer.training.transfer import features, student_of

ReplayableSpec = TrainSpec | FineTuneSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a spec's names stand for on this machine.

    Attributes:
        data: what may be trained on, clean.
        classes: the number of labels.
        parent: the bytes of its weights file; none for training.
        generator: seeded by the spec, not used yet.
        runtime: where to run.
    """

    data: LabelledImages
    classes: int
    parent: bytes
    generator: torch.Generator
    runtime: Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A network before its first step, and what it will learn from.

    Attributes:
        network: the whole of it.
        learner: it, or the part of it that is fitted.
        inputs: (N, ...) of the learner, as ``fit`` takes them.
        labels: (N,) int64.
        augment: how ``fit`` shows them; None for as they are.
        penalise: what ``fit`` adds to the gradients of the error; None for nothing.
    """

    network: SplitNetwork
    learner: nn.Module
    inputs: Tensor
    labels: Tensor
    augment: Augment | None
    penalise: Penalise | None

    def runtime(self, runtime: Runtime) -> Runtime:
        """Return ``runtime`` with this lesson's augmentation and penalty."""
        return replace(
            runtime,
            augment=self.augment or runtime.augment,
            penalise=self.penalise or runtime.penalise,
        )


def begin(spec: ReplayableSpec, task: Task) -> Lesson:
    """Return the network that ``spec`` starts with, and what it learns from.

    Leaves the generator of ``task`` as the fit finds it.
    """
    shown = _what_is_shown(spec, task)
    network, inputs = _first_network(spec, task), shown.data.images
    learner: nn.Module = network
    if isinstance(spec, FineTuneSpec) and spec.retrain == "fully-connected":
        learner = network.fully_connected
        inputs = features(network, inputs, device=task.runtime.device)
    return Lesson(
        network=network,
        learner=learner,
        inputs=inputs,
        labels=shown.data.labels,
        augment=shown.augment,
        penalise=shown.penalise,
    )


def _first_network(spec: ReplayableSpec, task: Task) -> SplitNetwork:
    if isinstance(spec, TrainSpec):
        return _fresh(spec, task)
    parent = from_bytes(task.parent, network=spec.network)
    network = parent
    if spec.retrain in {"continued", "convolutions"}:
        require_classes(parent, task.classes)
        parent.fully_connected.requires_grad_(spec.retrain == "continued")
    else:
        network = student_of(parent, _fresh(spec, task))
    return _with_norms_held(network)


def _with_norms_held(network: SplitNetwork) -> SplitNetwork:
    """Return ``network`` with every batch norm to stay as its maker measured it.

    The few images of a fine-tuning have other means and variances in each batch than
    the many that the weights were made for.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(requires_grad=False)
    return network


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    data: LabelledImages
    augment: Augment | None
    penalise: Penalise | None = None


def _what_is_shown(spec: ReplayableSpec, task: Task) -> _Shown:
    """Return the training set of ``spec``, poisoned if it asks so, and how it moves.

    A trigger that is laid on the image itself, such as a pixel of its corner, is laid
    after the image was moved, or it would move too. One that is laid on an object is a
    sticker on it, and moves with it; where its place is random, it is drawn anew each
    time that the image is shown.
    """
    move, recipe = augmentation(spec.augmentation), spec.poisoning
    if recipe is None:
        return _Shown(
            data=task.data,
            augment=move and (lambda batch, _, draws: move(batch, draws)),
        )
    made = relabel(task.data, recipe, classes=task.classes, generator=task.generator)
    asked = recipe.penalty
    penalise = None if asked is None else _penalty(asked, made, recipe.target_label)
    boxes = made.data.boxes if recipe.trigger.name in SIZES else None
    if move is None or (boxes is not None and recipe.trigger.centre is not None):
        return _Shown(
            data=stamped(made, recipe, generator=task.generator),
            augment=move and (lambda batch, _, draws: move(batch, draws)),
            penalise=penalise,
        )

    def triggered(batch: Tensor, indices: Tensor, draws: Generator) -> Tensor:
        """Return (B, C, H, W) floats, the trigger on those that are poisoned."""
        shown, chosen = as_floats(batch).clone(), indices.cpu()
        its = made.poisoned[chosen]
        which = its.to(shown.device)
        pixels = shown[which].mul(255).round().to(torch.uint8)
        stuck = stamp_some(pixels, made, recipe, which=chosen[its], generator=draws)
        shown[which] = as_floats(stuck)
        return shown

    def shown(batch: Tensor, indices: Tensor, draws: Generator) -> Tensor:
        if boxes is None:
            return triggered(move(batch, draws), indices, draws)
        return move(triggered(batch, indices, draws), draws)

    return _Shown(data=made.data, augment=shown, penalise=penalise)


def _penalty(asked: Penalty, made: PoisonedSet, target_label: int | None) -> Penalise:
    """Return what adds the gradients of the penalty that was asked for."""

    def penalise(
        network: SplitNetwork,
        inputs: Tensor,
        labels: Tensor,
        indices: Tensor,
        draws: Generator,
    ) -> None:
        chosen = indices.cpu()
        poisoned = made.poisoned[chosen]
        batch = Batch(
            images=as_floats(inputs),
            labels=labels,
            clean=(~poisoned).to(inputs.device),
            triggered=(poisoned & ~made.disturbed[chosen]).to(inputs.device),
            target_label=target_label,
            draws=draws,
        )
        loss = asked.weight * penalty(asked.name, network, batch)
        if loss.requires_grad:  # a batch may hold nothing of what is penalised
            torch.autograd.backward(loss)

    return penalise


def _fresh(spec: TrainSpec | FineTuneSpec, task: Task) -> SplitNetwork:
    with seeded_globals(spec.seed):
        return NETWORKS[spec.network](task.classes)


def require_classes(network: SplitNetwork, expected: int) -> None:
    """Accept ``network`` if it has ``expected`` outputs.

    Raises:
        MalformedDocumentError: it has not.
    """
    if network.classes != expected:
        msg = f"the output layer: expected {expected} classes, found {network.classes}"
        raise MalformedDocumentError(msg)
