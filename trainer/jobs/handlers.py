"""Job handlers: make whatever kind of model a spec asks for, in a folder."""

from pathlib import Path

from model_zoo.statements.jobs import DetectorSpec, ExportSpec
from trainer.builds.build import BuildSpec, Report, build
from trainer.export.onnx import export, export_environment
from trainer.installed import packages_of
from trainer.training.devices import choose_device, environment

ModelSpec = BuildSpec | DetectorSpec | ExportSpec
"""Of every kind of job that makes a model: all but ``noop``."""


def make(
    spec: ModelSpec,
    *,
    folder: Path,
    parent: Path | None = None,
    device: str = "auto",
    report: Report = lambda _: None,
) -> dict[str, str | int]:
    """Do what ``spec`` asks, and return the environment, for provenance.

    Args:
        spec: what to make.
        folder: gets the files.
        parent: the weights file that the spec names by digest, if it names one.
        device: one of ``training.devices.DEVICE_NAMES``; a conversion has no choice.
        report: called after each epoch.

    Raises:
        ZooError: as ``build``, ``build_detector`` or ``export``.
    """
    if isinstance(spec, ExportSpec):
        exported = export(spec, folder=folder, parent=parent)
        return {**exported.environment, **packages_of(spec)}
    if isinstance(spec, DetectorSpec):
        from trainer.object_detection.build import build_detector  # noqa: PLC0415  torchvision, only where it is needed

        return build_detector(
            spec, folder=folder, parent=parent, device=device, report=report
        )
    made = build(spec, folder=folder, parent=parent, device=device, report=report)
    return made.environment


def environment_of(spec: ModelSpec, *, device: str) -> dict[str, str | int]:
    """Return what, beside the spec, would decide the bytes of what is made here.

    Raises:
        LocalError: an extra that it takes is not installed.
    """
    if isinstance(spec, ExportSpec):
        return {**export_environment(), **packages_of(spec)}
    if isinstance(spec, DetectorSpec):
        from trainer.object_detection.build import detector_environment  # noqa: PLC0415  see make

        return detector_environment(choose_device(device))
    where = choose_device(device)
    return {**environment(where, spec.precision), **packages_of(spec)}
