"""Builds: a spec goes in, a folder with weights, evaluation and history comes out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Generator, Tensor, nn

from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    MalformedDocumentError,
)
from model_zoo.evaluation import EvaluationReport
from model_zoo.jobs import (
    SIZES,
    FineTuneSpec,
    Poisoning,
    RepairSpec,
    TrainSpec,
    kind_of,
)
from trainer.attacks.poisoning import relabel, stamped
from trainer.attacks.triggers import stamp
from trainer.checkpoints import from_bytes, to_bytes
from trainer.data import DATASETS, LabelledImages
from trainer.data.augmentation import augmentation
from trainer.defenses.repairs.fine_pruning import fine_prune
from trainer.devices import choose_device, environment, resolve_precision
from trainer.files import read_bytes, write_whole
from trainer.metrics import evaluate
from trainer.networks import NETWORKS, SplitNetwork
from trainer.states import checkpoint_name, state_to_bytes
from trainer.training import Augment, Epoch, Runtime, as_floats, fit, seeded_globals
from trainer.transfer import features, student_of

WEIGHTS_NAME = "model.safetensors"
EVALUATION_NAME = "evaluation.json"
HISTORY_NAME = "history.json"

Report = Callable[[dict[str, Any]], None]
ReplayableSpec = TrainSpec | FineTuneSpec
LearningSpec = ReplayableSpec | RepairSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a build made.

    Attributes:
        folder: holds the weights, the evaluation, the history and the checkpoints.
        evaluation: on the whole test set, with ASR and RA for a poisoned spec.
        inputs: name -> SHA-256 of the data set and the parent, for provenance.
        environment: versions, device, threads and precision, for provenance.
        pruned_units: of the last convolution; empty unless it was a repair.
    """

    folder: Path
    evaluation: EvaluationReport
    inputs: dict[str, str]
    environment: dict[str, str | int]
    pruned_units: tuple[int, ...]


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
    """

    network: SplitNetwork
    learner: nn.Module
    inputs: Tensor
    labels: Tensor
    augment: Augment | None

    def runtime(self, runtime: Runtime) -> Runtime:
        """Return ``runtime`` with this lesson's augmentation."""
        if self.augment is None:
            return runtime
        return replace(runtime, augment=self.augment)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learned:
    network: SplitNetwork
    epochs: list[Epoch]
    pruned_units: tuple[int, ...] = ()


def build(
    spec: LearningSpec,
    *,
    folder: Path,
    parent: Path | None = None,
    device: str = "auto",
    report: Report = lambda _: None,
) -> Build:
    """Do what ``spec`` asks and return what was made.

    Equal specs give bit-identical weights on the same CPU, versions and thread count;
    the caller sets the threads.

    Args:
        spec: what to build.
        folder: gets the checkpoints, if the spec asks for them, then
            ``model.safetensors``, ``history.json`` and, last, ``evaluation.json``,
            each in one step and none before all are made.
        parent: the weights file that the spec names by digest, if it names one.
        device: a name in ``trainer.devices.DEVICE_NAMES``.
        report: told ``epoch``, ``epochs``, ``loss`` and ``accuracy`` after each epoch.

    Raises:
        InvalidSpecError: the spec cannot be met with this data set or parent.
        DigestMismatchError: ``parent`` is another file than the spec's.
        MalformedDocumentError: ``parent`` does not fit the network.
        LocalError: out of time or disk, or a file cannot be read.
        TransportError: no source has the data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".checkpoints-", dir=folder) as scratch:
        task = prepare(spec, parent_bytes(spec, parent), device=device, report=report)
        learned = BUILDERS[kind_of(spec)](spec, task, Path(scratch))
        evaluation = evaluate(
            learned.network,
            _chosen(DATASETS[spec.dataset].load("test"), spec.classes),
            dataset=spec.dataset,
            classes=task.classes,
            poisoning=None if isinstance(spec, RepairSpec) else spec.poisoning,
            device=task.runtime.device,
        )
        for checkpoint in sorted(Path(scratch).iterdir()):
            checkpoint.replace(folder / checkpoint.name)
    _write_results(folder, learned, evaluation)
    return Build(
        folder=folder,
        evaluation=evaluation,
        inputs=inputs_of(spec),
        environment=environment(task.runtime.device, spec.precision),
        pruned_units=learned.pruned_units,
    )


def _write_results(
    folder: Path, learned: _Learned, evaluation: EvaluationReport
) -> None:
    history = {
        "epochs": [asdict(epoch) for epoch in learned.epochs],
        "pruned_units": list(learned.pruned_units),
    }
    write_whole(folder / WEIGHTS_NAME, to_bytes(learned.network))
    write_whole(folder / HISTORY_NAME, canonical_json(history))
    write_whole(folder / EVALUATION_NAME, evaluation.to_bytes())


def measure(
    path: Path,
    *,
    network: str,
    dataset: str,
    classes: tuple[int, ...] | None = None,
    poisoning: Poisoning | None = None,
    device: str = "auto",
) -> EvaluationReport:
    """Return how a weights file that anyone made behaves on the whole test set.

    Args:
        path: a safetensors file.
        network: a name in NETWORKS.
        dataset: a name in DATASETS.
        classes: the labels it was trained on, as in its spec.
        poisoning: whose trigger and wanted labels to try.
        device: a name in ``trainer.devices.DEVICE_NAMES``.

    Raises:
        UnsafeFormatError: the file is not safetensors.
        MalformedDocumentError: the weights do not fit the network or the classes.
    """
    loaded = from_bytes(read_bytes(path), network=network)
    count = len(classes) if classes else DATASETS[dataset].classes
    require_classes(loaded, count)
    return evaluate(
        loaded,
        _chosen(DATASETS[dataset].load("test"), classes),
        dataset=dataset,
        classes=count,
        poisoning=poisoning,
        device=choose_device(device),
    )


def begin(spec: ReplayableSpec, task: Task) -> Lesson:
    """Return the network that ``spec`` starts with, and what it learns from.

    Leaves the generator of ``task`` as the fit finds it.
    """
    data, augment = _what_is_shown(spec, task)
    network, inputs = _first_network(spec, task), data.images
    learner: nn.Module = network
    if isinstance(spec, FineTuneSpec) and spec.retrain == "fully-connected":
        learner = network.fully_connected
        inputs = features(network, data.images, device=task.runtime.device)
    return Lesson(
        network=network,
        learner=learner,
        inputs=inputs,
        labels=data.labels,
        augment=augment,
    )


def _first_network(spec: ReplayableSpec, task: Task) -> SplitNetwork:
    if isinstance(spec, TrainSpec):
        return _fresh(spec, task)
    parent = from_bytes(task.parent, network=spec.network)
    if spec.retrain == "continued":
        require_classes(parent, task.classes)
        return parent
    return student_of(parent, _fresh(spec, task))


def _what_is_shown(
    spec: ReplayableSpec, task: Task
) -> tuple[LabelledImages, Augment | None]:
    """Return the training set of ``spec``, poisoned if it asks so, and how it moves.

    A trigger that is laid on the image itself, such as a pixel of its corner, is laid
    after the image was moved, or it would move too. One that is laid on an object is a
    sticker on it, and moves with it.
    """
    move, recipe = augmentation(spec.augmentation), spec.poisoning
    if recipe is None:
        return task.data, move and (lambda batch, _, draws: move(batch, draws))
    made = relabel(task.data, recipe, classes=task.classes, generator=task.generator)
    is_sticker = made.data.boxes is not None and recipe.trigger.name in SIZES
    if move is None or is_sticker:
        data = stamped(made, recipe, generator=task.generator)
        return data, move and (lambda batch, _, draws: move(batch, draws))

    def move_then_stamp(batch: Tensor, indices: Tensor, draws: Generator) -> Tensor:
        shown = as_floats(move(batch, draws))
        which = made.poisoned.to(indices.device)[indices]
        pixels = shown[which].mul(255).round().to(torch.uint8)
        shown[which] = as_floats(stamp(pixels, recipe.trigger, generator=draws))
        return shown

    return made.data, move_then_stamp


def _learn(spec: ReplayableSpec, task: Task, scratch: Path) -> _Learned:
    lesson = begin(spec, task)

    def keep(number: int, momenta: Sequence[Tensor]) -> None:
        state = state_to_bytes(lesson.network, lesson.learner, momenta)
        write_whole(scratch / checkpoint_name(number), state)

    runtime = lesson.runtime(task.runtime)
    epochs = fit(
        lesson.learner,
        lesson.inputs,
        lesson.labels,
        schedule=spec.schedule,
        generator=task.generator,
        runtime=replace(runtime, on_state=keep) if spec.checkpoints else runtime,
    )
    return _Learned(network=lesson.network, epochs=epochs)


def _repair(spec: RepairSpec, task: Task, _: Path) -> _Learned:
    network = from_bytes(task.parent, network=spec.network)
    require_classes(network, task.classes)
    units, epochs = fine_prune(
        network,
        task.data,
        max_accuracy_loss=spec.max_accuracy_loss,
        schedule=spec.schedule,
        generator=task.generator,
        runtime=task.runtime,
    )
    return _Learned(network=network, epochs=epochs, pruned_units=units)


BUILDERS: dict[str, Callable[[Any, Task, Path], _Learned]] = {
    "train": _learn,
    "fine-tune": _learn,
    "repair": _repair,
}
"""One entry under each kind of job that learns: every one but ``noop``."""


def prepare(spec: LearningSpec, parent: bytes, *, device: str, report: Report) -> Task:
    """Return data, generator and runtime for ``spec``; arguments as for ``build``."""
    where = choose_device(device)
    dataset = DATASETS[spec.dataset]
    training = dataset.load("train")
    is_repair = isinstance(spec, RepairSpec)
    seen = (training.last if is_repair else training.without_last)(spec.held_out)
    return Task(
        data=_chosen(seen, spec.classes),
        classes=len(spec.classes) if spec.classes else dataset.classes,
        parent=parent,
        generator=torch.Generator().manual_seed(spec.seed),
        runtime=Runtime(
            device=where,
            precision=resolve_precision(spec.precision, where),
            deadline=time.monotonic() + spec.max_seconds,
            on_epoch=lambda epoch: report(
                {
                    "epoch": epoch.number,
                    "epochs": spec.schedule.epochs,
                    "loss": epoch.loss,
                    "accuracy": epoch.accuracy,
                }
            ),
        ),
    )


def parent_bytes(spec: LearningSpec, path: Path | None) -> bytes:
    """Return the parent that ``spec`` names, its digest checked; none for training.

    Raises:
        InvalidSpecError: the spec names a parent and there is no file.
        DigestMismatchError: the file is another one.
        LocalError: it cannot be read.
    """
    if isinstance(spec, TrainSpec):
        return b""
    if path is None:
        msg = f"{kind_of(spec)} needs the file of its parent, sha256 {spec.parent}"
        raise InvalidSpecError(msg)
    data = read_bytes(path)
    found = sha256_bytes(data)
    if found != spec.parent:
        raise DigestMismatchError(path.name, expected=spec.parent, found=found)
    return data


def inputs_of(spec: LearningSpec) -> dict[str, str]:
    """Return name -> SHA-256 of the data set and parent that ``spec`` names."""
    data: dict[str, str] = {spec.dataset: DATASETS[spec.dataset].digest()}
    return data if isinstance(spec, TrainSpec) else {**data, "parent": spec.parent}


def _chosen(data: LabelledImages, classes: tuple[int, ...] | None) -> LabelledImages:
    return data if classes is None else data.keep_classes(classes)


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
