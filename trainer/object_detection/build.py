"""Building a detector: a spec goes in, weights and history come out."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model_zoo.canonical import canonical_json
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import DetectorSpec
from trainer.builds.build import HISTORY_NAME, WEIGHTS_NAME, parent_bytes
from trainer.files import write_whole
from trainer.networks.checkpoints import to_bytes
from trainer.object_detection.showing import training_scenes
from trainer.object_detection.training import trained
from trainer.training.devices import choose_device, environment


def build_detector(
    spec: DetectorSpec,
    *,
    folder: Path,
    parent: Path | None,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, str | int]:
    """Do what ``spec`` asks and return the environment, for provenance.

    Args:
        spec: what to build.
        folder: gets ``model.safetensors`` and ``history.json``.
        parent: the weights file that the spec names by digest.
        device: a name in ``trainer.training.devices.DEVICE_NAMES``.
        report: called with ``epoch``, ``epochs`` and ``loss`` after each epoch.

    Raises:
        InvalidSpecError: the spec cannot be met with these scenes, or in time, or
            training diverged.
        DigestMismatchError: ``parent`` is another file than the spec's.
        MalformedDocumentError: ``parent`` is nothing that a detector starts from.
        LocalError: data are missing or damaged, or a file cannot be written.
    """
    deadline = time.monotonic() + spec.max_seconds
    epochs: list[dict[str, float]] = []

    def note(number: int, loss: float) -> None:
        epochs.append({"number": number, "loss": loss})
        report({"epoch": number, "epochs": spec.schedule.epochs, "loss": loss})
        if time.monotonic() > deadline:
            msg = "training did not end within max_seconds; allow more, or fewer epochs"
            raise InvalidSpecError(msg)

    where, start = choose_device(device), parent_bytes(spec, parent)
    scenes = training_scenes(spec)
    network = trained(spec, scenes, parent=start, device=where, on_epoch=note)
    write_whole(folder / WEIGHTS_NAME, to_bytes(network))
    write_whole(folder / HISTORY_NAME, canonical_json({"epochs": epochs}))
    return detector_environment(where)


def detector_environment(device: torch.device) -> dict[str, str | int]:
    """Return what, beside the spec, decides the bits of a detector."""
    return environment(device, "fp32")
