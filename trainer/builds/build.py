"""Builds: a spec goes in, a folder with weights, evaluation and history comes out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
)
from model_zoo.names import check_name
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.folder import RESERVED_NAMES
from model_zoo.statements.jobs import (
    ChildSpec,
    DetectorSpec,
    JobSpec,
    Poisoning,
    RepairSpec,
    StrengthenSpec,
    TrainSpec,
    data_of,
    kind_of,
)
from model_zoo.statements.manifest import CHECKPOINT_PREFIX
from trainer.attacks.strengthening import backdoor_units
from trainer.attacks.triggers import stamp
from trainer.data import DATASETS, LabelledImages, data_digest
from trainer.defenses.repairs import REPAIRS
from trainer.defenses.training import DEFENSES
from trainer.evaluation.metrics import evaluate
from trainer.files import read_bytes, write_whole
from trainer.installed import packages_of
from trainer.networks import SplitNetwork
from trainer.networks.activations import amplified
from trainer.networks.checkpoints import from_bytes, to_bytes
from trainer.training.augmentation import augmentation
from trainer.training.devices import choose_device, environment, resolve_precision
from trainer.training.drawing import drawn
from trainer.training.fit import Epoch, Runtime, fit
from trainer.training.setup import ReplayableSpec, Task, begin, require_classes
from trainer.training.state import checkpoint_name, state_to_bytes

WEIGHTS_NAME = "model.safetensors"
EVALUATION_NAME = "evaluation.json"
HISTORY_NAME = "history.json"

Report = Callable[[dict[str, Any]], None]
BuildSpec = ReplayableSpec | RepairSpec | StrengthenSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a build made.

    Attributes:
        folder: holds the weights, the evaluation, the history and the checkpoints.
        evaluation: on the whole test set, with ASR and RA for a poisoned spec.
        inputs: name -> SHA-256 of the data set and the parent, for provenance.
        environment: versions, device, threads and precision, for provenance.
        pruned_units: of the features; empty unless a repair cut some.
    """

    folder: Path
    evaluation: EvaluationReport
    inputs: dict[str, str]
    environment: dict[str, str | int]
    pruned_units: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learned:
    network: SplitNetwork
    epochs: list[Epoch]
    pruned_units: tuple[int, ...] = ()
    isolated: tuple[int, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def build(
    spec: BuildSpec,
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
        folder: gets the checkpoints, if the spec asks for them, what else the
            builder made, then ``model.safetensors``, ``history.json`` and, last,
            ``evaluation.json``, each in one step and none before all are made.
        parent: the weights file that the spec names by digest, if it names one.
        device: a name in ``trainer.training.devices.DEVICE_NAMES``.
        report: called with ``epoch``, ``epochs``, ``loss`` and ``accuracy`` after
            each epoch.

    Raises:
        InvalidSpecError: the spec cannot be met with this data set or parent, a name
            in it is not registered here, or training diverged.
        DigestMismatchError: ``parent`` is another file than the spec's.
        MalformedDocumentError: ``parent`` does not fit the network.
        LocalError: out of time or disk, or a file cannot be read.
        TransportError: no source has the data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".checkpoints-", dir=folder) as scratch:
        task = prepare(spec, parent_bytes(spec, parent), device=device, report=report)
        learned = BUILDERS[kind_of(spec)](spec, task, Path(scratch))
        weights = to_bytes(learned.network)  # diverged ones are not worth measuring
        evaluation = evaluate(
            learned.network,
            _chosen(DATASETS[spec.dataset].load("test"), spec.classes),
            dataset=spec.dataset,
            classes=task.classes,
            poisoning=poisoning_of(spec),
            device=task.runtime.device,
        )
        for checkpoint in sorted(Path(scratch).iterdir()):
            checkpoint.replace(folder / checkpoint.name)
    _write_results(folder, learned, weights, evaluation)
    return Build(
        folder=folder,
        evaluation=evaluation,
        inputs=inputs_of(spec),
        environment={
            **environment(task.runtime.device, spec.precision),
            **packages_of(spec),
        },
        pruned_units=learned.pruned_units,
    )


def weights_of(
    spec: BuildSpec, *, scratch: Path, parent: Path | None = None, device: str = "auto"
) -> bytes:
    """Return the weights file that ``build`` makes, and measure nothing.

    Args:
        spec: as for ``build``.
        scratch: a folder that is there; gets the checkpoints that the spec asks for.
        parent: as for ``build``.
        device: as for ``build``.

    Raises:
        ZooError: as for ``build``.
    """
    task = prepare(
        spec, parent_bytes(spec, parent), device=device, report=lambda _: None
    )
    return to_bytes(BUILDERS[kind_of(spec)](spec, task, scratch).network)


def _write_results(
    folder: Path, learned: _Learned, weights: bytes, evaluation: EvaluationReport
) -> None:
    history = {
        "epochs": [asdict(epoch) for epoch in learned.epochs],
        "pruned_units": list(learned.pruned_units),
    }
    if learned.isolated:
        history["isolated"] = list(learned.isolated)
    for name, data in learned.files.items():
        write_whole(folder / _extra_name(name), data)
    write_whole(folder / WEIGHTS_NAME, weights)
    write_whole(folder / HISTORY_NAME, canonical_json(history))
    write_whole(folder / EVALUATION_NAME, evaluation.to_bytes())


def _extra_name(name: str) -> str:
    """Return the name of a file that another package's builder adds, if it may.

    Raises:
        InvalidSpecError: it is no file name, or that of a file which is always there.
    """
    kept = {WEIGHTS_NAME, HISTORY_NAME, EVALUATION_NAME, *RESERVED_NAMES}
    if check_name(name, what="file") in kept or name.startswith(CHECKPOINT_PREFIX):
        msg = f"{name} cannot be the name of an extra file: it has another meaning"
        raise InvalidSpecError(msg)
    return name


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
        device: a name in ``trainer.training.devices.DEVICE_NAMES``.

    Raises:
        UnsafeFormatError: the file is not safetensors.
        MalformedDocumentError: the weights do not fit the network or the classes.
    """
    loaded, data = opened(path, network=network, dataset=dataset, classes=classes)
    return evaluate(
        loaded,
        data,
        dataset=dataset,
        classes=loaded.classes,
        poisoning=poisoning,
        device=choose_device(device),
    )


def opened(
    path: Path, *, network: str, dataset: str, classes: tuple[int, ...] | None = None
) -> tuple[SplitNetwork, LabelledImages]:
    """Return the network in a weights file, and the whole test set to measure it on.

    Arguments and errors as for ``measure``.
    """
    loaded = from_bytes(read_bytes(path), network=network)
    require_classes(loaded, len(classes) if classes else DATASETS[dataset].classes)
    return loaded, _chosen(DATASETS[dataset].load("test"), classes)


def poisoning_of(spec: BuildSpec) -> Poisoning | None:
    """Return the attack in ``spec`` whose success a build of it reports, if any."""
    return spec.poisoning if isinstance(spec, ReplayableSpec) else None


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


def _train(spec: TrainSpec, task: Task, scratch: Path) -> _Learned:
    """Train as ``spec`` says; a defence gets nothing of what was done to the images."""
    if spec.defense is None:
        return _learn(spec, task, scratch)
    lesson = begin(spec, task)
    made = DEFENSES[spec.defense](
        lesson.network,
        LabelledImages(images=lesson.inputs, labels=lesson.labels),
        _chosen(DATASETS[spec.dataset].load("train").last(spec.held_out), spec.classes),
        spec.schedule,
        task.generator,
        lesson.runtime(task.runtime),
    )
    return _Learned(
        network=lesson.network,
        epochs=made.epochs,
        isolated=tuple(made.isolated.tolist()),
    )


def _repair(spec: RepairSpec, task: Task, _: Path) -> _Learned:
    network = from_bytes(task.parent, network=spec.network)
    require_classes(network, task.classes)
    move, runtime = augmentation(spec.augmentation), task.runtime
    if move is not None:
        runtime = replace(runtime, augment=lambda batch, _, draws: move(batch, draws))
    made = REPAIRS[spec.defense](network, task.data, spec, task.generator, runtime)
    require_classes(made.network, task.classes)
    return _Learned(
        network=made.network,
        epochs=made.epochs,
        pruned_units=made.pruned_units,
        files=made.files,
    )


def _strengthen(spec: StrengthenSpec, task: Task, _: Path) -> _Learned:
    network = from_bytes(task.parent, network=spec.network)
    require_classes(network, task.classes)
    data = task.data
    units, _changes = backdoor_units(
        network,
        data.images,
        stamp(data.images, spec.trigger, boxes=data.boxes, generator=task.generator),
        layer=spec.layer,
        device=task.runtime.device,
    )
    louder = amplified(network, spec.layer, units, factor=spec.factor)
    return _Learned(network=louder, epochs=[])


BUILDERS: dict[str, Callable[[Any, Task, Path], _Learned]] = {
    "train": _train,
    "fine-tune": _learn,
    "repair": _repair,
    "strengthen": _strengthen,
}
"""One entry under each kind of job that makes a network that can be measured."""


def prepare(spec: BuildSpec, parent: bytes, *, device: str, report: Report) -> Task:
    """Return data, generator and runtime for ``spec``; arguments as for ``build``."""
    where = choose_device(device)
    dataset = DATASETS[spec.dataset]
    epochs = 0 if isinstance(spec, StrengthenSpec) else spec.schedule.epochs
    classes = len(spec.classes) if spec.classes else dataset.classes
    generator = torch.Generator().manual_seed(spec.seed)
    data = _seen(spec, dataset.load("train"))
    if isinstance(spec, ReplayableSpec) and spec.draw is not None:
        data = drawn(data, spec.draw, classes=classes, generator=generator)
    return Task(
        data=data,
        classes=classes,
        parent=parent,
        generator=generator,
        runtime=Runtime(
            device=where,
            precision=resolve_precision(spec.precision, where),
            deadline=time.monotonic() + spec.max_seconds,
            on_epoch=lambda epoch: report(
                {
                    "epoch": epoch.number,
                    "epochs": epochs,
                    "loss": epoch.loss,
                    "accuracy": epoch.accuracy,
                }
            ),
        ),
    )


def _seen(spec: BuildSpec, training: LabelledImages) -> LabelledImages:
    """Return the training images that ``spec`` may look at, of its classes."""
    if isinstance(spec, ReplayableSpec):
        return _chosen(training.without_last(spec.withheld), spec.classes)
    if isinstance(spec, RepairSpec) and not spec.looks_at_images:
        return training.select(torch.arange(0))
    return _chosen(training.last(spec.given), spec.classes)


def parent_bytes(spec: BuildSpec | DetectorSpec, path: Path | None) -> bytes:
    """Return the parent that ``spec`` names, its digest checked; none for training.

    Raises:
        InvalidSpecError: the spec names a parent and there is no file, or there is a
            file and the spec names none.
        DigestMismatchError: the file is another one.
        LocalError: it cannot be read.
    """
    if isinstance(spec, TrainSpec):
        if path is not None:
            msg = f"{kind_of(spec)} starts from no parent, and one was given: {path}"
            raise InvalidSpecError(msg)
        return b""
    if path is None:
        msg = f"{kind_of(spec)} needs the file of its parent, sha256 {spec.parent}"
        raise InvalidSpecError(msg)
    data = read_bytes(path)
    found = sha256_bytes(data)
    if found != spec.parent:
        raise DigestMismatchError.of(path.name, expected=spec.parent, found=found)
    return data


def inputs_of(spec: JobSpec) -> dict[str, str]:
    """Return name -> SHA-256 of the data sets and parent that ``spec`` names."""
    data = {name: data_digest(name) for name in data_of(spec)}
    return {**data, "parent": spec.parent} if isinstance(spec, ChildSpec) else data


def _chosen(data: LabelledImages, classes: tuple[int, ...] | None) -> LabelledImages:
    return data if classes is None else data.keep_classes(classes)
