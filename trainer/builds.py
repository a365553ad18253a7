"""Builds: a spec goes in, a folder with weights, evaluation and history comes out."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    MalformedDocumentError,
)
from model_zoo.evaluation import EvaluationReport
from model_zoo.jobs import (
    FineTuneSpec,
    Poisoning,
    RepairSpec,
    TrainSpec,
    kind_of,
)
from trainer.attacks.poisoning import poison
from trainer.checkpoints import from_bytes, to_bytes
from trainer.data import DATASETS, LabelledImages
from trainer.defenses.repairs.fine_pruning import fine_prune
from trainer.devices import choose_device, environment, resolve_precision
from trainer.files import read_bytes, write_whole
from trainer.metrics import evaluate
from trainer.networks import NETWORKS, SplitNetwork
from trainer.training import Epoch, Runtime, fit, seeded_globals
from trainer.transfer import fine_tune, student_of

WEIGHTS_NAME = "model.safetensors"
EVALUATION_NAME = "evaluation.json"
HISTORY_NAME = "history.json"

Report = Callable[[dict[str, Any]], None]
LearningSpec = TrainSpec | FineTuneSpec | RepairSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a build made.

    Attributes:
        folder: holds the weights, the evaluation and the history.
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
class _Task:
    """What a spec's names stand for on this machine."""

    data: LabelledImages
    classes: int
    parent: bytes
    generator: torch.Generator
    runtime: Runtime


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
        folder: gets ``model.safetensors``, ``history.json`` and, last,
            ``evaluation.json``, each in one step.
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
    task = _prepare(spec, _parent_bytes(spec, parent), device=device, report=report)
    learned = BUILDERS[kind_of(spec)](spec, task)
    evaluation = evaluate(
        learned.network,
        _chosen(DATASETS[spec.dataset].load("test"), spec.classes),
        dataset=spec.dataset,
        classes=task.classes,
        poisoning=spec.poisoning if isinstance(spec, TrainSpec) else None,
        device=task.runtime.device,
    )
    history = {
        "epochs": [asdict(epoch) for epoch in learned.epochs],
        "pruned_units": list(learned.pruned_units),
    }
    write_whole(folder / WEIGHTS_NAME, to_bytes(learned.network))
    write_whole(folder / HISTORY_NAME, canonical_json(history))
    write_whole(folder / EVALUATION_NAME, evaluation.to_bytes())
    return Build(
        folder=folder,
        evaluation=evaluation,
        inputs=_inputs(spec),
        environment=environment(task.runtime.device, spec.precision),
        pruned_units=learned.pruned_units,
    )


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
    _require_classes(loaded, count)
    return evaluate(
        loaded,
        _chosen(DATASETS[dataset].load("test"), classes),
        dataset=dataset,
        classes=count,
        poisoning=poisoning,
        device=choose_device(device),
    )


def _train(spec: TrainSpec, task: _Task) -> _Learned:
    data = task.data
    if spec.poisoning is not None:
        data = poison(
            data, spec.poisoning, classes=task.classes, generator=task.generator
        )
    network = _fresh(spec, task)
    epochs = fit(
        network,
        data.images,
        data.labels,
        schedule=spec.schedule,
        generator=task.generator,
        runtime=task.runtime,
    )
    return _Learned(network=network, epochs=epochs)


def _fine_tune(spec: FineTuneSpec, task: _Task) -> _Learned:
    network = student_of(
        from_bytes(task.parent, network=spec.network),
        _fresh(spec, task),
    )
    epochs = fine_tune(
        network,
        task.data,
        retrain=spec.retrain,
        schedule=spec.schedule,
        generator=task.generator,
        runtime=task.runtime,
    )
    return _Learned(network=network, epochs=epochs)


def _repair(spec: RepairSpec, task: _Task) -> _Learned:
    network = from_bytes(task.parent, network=spec.network)
    _require_classes(network, task.classes)
    units, epochs = fine_prune(
        network,
        task.data,
        max_accuracy_loss=spec.max_accuracy_loss,
        schedule=spec.schedule,
        generator=task.generator,
        runtime=task.runtime,
    )
    return _Learned(network=network, epochs=epochs, pruned_units=units)


BUILDERS: dict[str, Callable[[Any, _Task], _Learned]] = {
    "train": _train,
    "fine-tune": _fine_tune,
    "repair": _repair,
}
"""One entry under each kind of job that learns: every one but ``noop``."""


def _prepare(
    spec: LearningSpec, parent: bytes, *, device: str, report: Report
) -> _Task:
    where = choose_device(device)
    dataset = DATASETS[spec.dataset]
    training = dataset.load("train")
    is_repair = isinstance(spec, RepairSpec)
    seen = (training.last if is_repair else training.without_last)(spec.held_out)
    return _Task(
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


def _parent_bytes(spec: LearningSpec, path: Path | None) -> bytes:
    """Return the parent that ``spec`` names, its digest checked; none for training."""
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


def _inputs(spec: LearningSpec) -> dict[str, str]:
    data: dict[str, str] = {spec.dataset: DATASETS[spec.dataset].digest}
    return data if isinstance(spec, TrainSpec) else {**data, "parent": spec.parent}


def _chosen(data: LabelledImages, classes: tuple[int, ...] | None) -> LabelledImages:
    return data if classes is None else data.keep_classes(classes)


def _fresh(spec: TrainSpec | FineTuneSpec, task: _Task) -> SplitNetwork:
    with seeded_globals(spec.seed):
        return NETWORKS[spec.network](task.classes)


def _require_classes(network: SplitNetwork, expected: int) -> None:
    if network.classes != expected:
        msg = f"the output layer: expected {expected} classes, found {network.classes}"
        raise MalformedDocumentError(msg)
