"""``zoo scan``: how a model behaves under scanners that look for a backdoor."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.cli.options import refuse_options
from model_zoo.cli.output import emit, say
from model_zoo.errors import InvalidSpecError
from model_zoo.formats.static_checks import static_findings
from model_zoo.statements.folder import require_unused
from model_zoo.statements.jobs import RepairSpec
from model_zoo.statements.scan import (
    NOT_SCANNED,
    NOTHING_FOUND,
    SUSPICIOUS,
    ScanReport,
)
from trainer.cli.convert import weights_in
from trainer.cli.evaluate import spec_beside
from trainer.cli.subject import (
    AnyNetwork,
    CleanData,
    DataSet,
    Device,
    Source,
    SpecFile,
    Subject,
    clean_images,
    registered,
)
from trainer.files import write_whole

if TYPE_CHECKING:
    import torch

    from trainer.data import LabelledImages
    from trainer.defenses.scanners.scan import Scan

EXIT_CODES = {NOTHING_FOUND: 0, SUSPICIOUS: 1, NOT_SCANNED: 6}
"""Of a scan that ran to its end, by its verdict."""
HTML_NAME, JSON_NAME = "scan.html", "scan.json"

HeldOut = Annotated[
    int | None,
    typer.Option(
        min=1, help="Clean images: the last N training images; 3,000 unless told."
    ),
]
WithoutData = Annotated[
    bool, typer.Option("--without-data", help="Run what needs no clean images.")
]
Scanners = Annotated[
    list[str] | None,
    typer.Option("--scanner", help="Run this one, and only those named so."),
]
Passes = Annotated[
    int, typer.Option(min=1, help="Of one image through the network, at most.")
]
Seconds = Annotated[float, typer.Option(min=1, help="That it may take, at most.")]
Parent = Annotated[
    Path | None,
    typer.Option(help="What it was made from: chat templates are compared with its."),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder that gets scan.html and scan.json.")
]
IMAGES = 3_000
OF_IMAGES = ("spec", "network", "data", "held_out", "scanner")
"""Options that an adapter has no use for."""
PASSES, SECONDS = 200_000, 600.0


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("scan")(scan)


def scan(
    context: typer.Context,
    model: Source,
    *,
    spec: SpecFile = None,
    network: AnyNetwork = "",
    dataset: DataSet = "",
    data: CleanData = None,
    held_out: HeldOut = None,
    without_data: WithoutData = False,
    scanner: Scanners = None,
    max_passes: Passes = PASSES,
    max_seconds: Seconds = SECONDS,
    parent: Parent = None,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Look for a backdoor in MODEL: weights (.safetensors), or a folder with them.

    An adapter (adapter_model.safetensors, adapter_config.json) is judged with its base.
    Exit code 0: nothing found; 1: suspicious; 6: not scanned, for the reason that is
    shown. A signature says who made a model; this says how it behaves.
    """
    own = _own_data(data=data, held_out=held_out, without=without_data)
    if out is not None:
        require_unused(out)
    limits = Limits(tuple(scanner or ()), max_passes, max_seconds)
    where = limits.checked(device)
    static = static_findings(model, parent, network=network or None)
    weights = weights_in(model)
    if _is_adapter(weights):
        refuse_options(context, *OF_IMAGES, why="an adapter says what it is of")
        sentences = "" if without_data else dataset
        found = _adapter_scanned(weights, sentences, limits, where=where)
    else:
        of = _subject(
            weights, spec=spec, network=network, dataset=dataset, has_own_data=own
        )
        images = None
        if not without_data:
            images = clean_images(of, data=data, held_out=held_out or IMAGES)
        found = scanned(weights, of, images, limits, where=where)
    report = found.report.with_static(static)
    _tell(report, found, out)
    # not by an error: that would print a second document
    raise typer.Exit(EXIT_CODES[report.verdict])


def _own_data(*, data: Path | None, held_out: int | None, without: bool) -> bool:
    """Return whether no data set is asked for images.

    Raises:
        InvalidSpecError: more than one of the options is given.
    """
    if sum((data is not None, held_out is not None, without)) > 1:
        msg = "give one of --data, --held-out and --without-data"
        raise InvalidSpecError(msg)
    return without or data is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """Which scanners run, all of the ensemble if none is named, and at what cost."""

    scanners: tuple[str, ...] = ()
    passes: int = PASSES
    seconds: float = SECONDS

    def checked(self, device: str) -> "torch.device":
        """Return the device, before anything is read.

        Raises:
            InvalidSpecError: no such device, or no such scanner.
        """
        from trainer.defenses.scanners import SCANNERS
        from trainer.training.devices import choose_device

        for name in self.scanners:
            SCANNERS[name]
        return choose_device(device)


def _subject(
    weights: Path, *, spec: Path | None, network: str, dataset: str, has_own_data: bool
) -> Subject:
    """Return what options, or the files beside the weights, say they are.

    Raises:
        InvalidSpecError: they do not say enough, or say it twice.
    """
    if not network:
        found = spec_beside(weights.parent, spec=spec, network="", dataset=dataset)
        return Subject(
            network=found.network, dataset=found.dataset, classes=found.classes
        )
    if spec is not None:
        msg = "give --network or --spec, and not both"
        raise InvalidSpecError(msg)
    if not dataset and not has_own_data:
        msg = "of which data set? give --dataset, or --data FILE, or --without-data"
        raise InvalidSpecError(msg)
    return Subject(network=registered(network), dataset=dataset)


def scanned(
    weights: Path,
    subject: Subject,
    images: "LabelledImages | None",
    limits: Limits,
    *,
    where: "torch.device",
) -> "Scan":
    """Return what scanners find in a weights file.

    Raises:
        InvalidSpecError: it is not of that architecture, or the images are not.
        MalformedDocumentError: it is no weights file.
    """
    from trainer.defenses.scanners import ENSEMBLE
    from trainer.defenses.scanners.scan import Request, scan_file

    request = Request(
        network=subject.network,
        dataset=subject.dataset,
        scanners=limits.scanners or ENSEMBLE,
        passes=limits.passes,
        seconds=limits.seconds,
    )
    return scan_file(weights, images, request, device=where)


def _is_adapter(weights: Path) -> bool:
    from trainer.defenses.adapters.scan import is_adapter

    return is_adapter(weights)


def _adapter_scanned(
    weights: Path, dataset: str, limits: Limits, *, where: "torch.device"
) -> "Scan":
    """Return what scanners find in an adapter and the base that it names.

    Args:
        weights: of the adapter.
        dataset: of sentences; empty for none.
        limits: of the scan.
        where: it runs.

    Raises:
        InvalidSpecError: there is no such base, or no such data set.
        VerificationError: the base is another, or one of the files malformed.
    """
    from trainer.defenses.adapters.scan import AdapterRequest, scan_adapter
    from trainer.text.messages import own_sentences

    own = own_sentences(dataset) if dataset else None
    request = AdapterRequest(
        dataset=dataset,
        sentences=() if own is None else own.texts(),
        labels=None if own is None else own.labels,
        passes=limits.passes,
        seconds=limits.seconds,
        device=where,
    )
    return scan_adapter(weights, request)


def scans_for(
    spec: RepairSpec, files: Mapping[str, Path], *, device: str
) -> dict[str, ScanReport]:
    """Return what scanners say of a network before and after its repair.

    They are shown what the repair was: the defender has no more. One that needs no
    image got none, and scanners that need some are skipped.

    Args:
        spec: of the repair.
        files: ``before`` and ``after`` -> weights.
        device: as every command takes it.

    Raises:
        ZooError: as ``scanned``.
    """
    from trainer.training.devices import choose_device

    subject = Subject(spec.network, spec.dataset, spec.classes)
    images = None
    if spec.looks_at_images:
        images = clean_images(subject, data=None, held_out=spec.held_out)
    where = choose_device(device)
    return {
        when: scanned(weights, subject, images, Limits(), where=where).report
        for when, weights in files.items()
    }


def say_scans(scans: Mapping[str, ScanReport]) -> None:
    """Say what scans around a repair found; ``scans`` is empty where none were made.

    Raises:
        Exit: what was repaired is still suspicious, with the code of that verdict.
    """
    for when, report in scans.items():
        say(f"scan {when}: {report.verdict}: {report.why}")
    if scans and scans["after"].verdict == SUSPICIOUS:
        # not by an error: that would print a second document
        raise typer.Exit(EXIT_CODES[SUSPICIOUS])


def _tell(report: ScanReport, found: "Scan", out: Path | None) -> None:
    if out is not None:
        _write(report, found, out)
    _say_report(report)
    emit(report.to_object())


def _write(report: ScanReport, found: "Scan", out: Path) -> None:
    from trainer.defenses.scanners.page import as_html

    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / HTML_NAME, as_html(report, found.triggers).encode())
    write_whole(out / JSON_NAME, report.to_bytes())
    say(f"{out / HTML_NAME}: verdict, scanners and recovered changes")


def _say_report(report: ScanReport) -> None:
    say(f"{report.files[0].name}: {report.verdict}: {report.why}")
    if report.target_labels:
        sources = ", ".join(map(str, report.source_labels)) or "any"
        targets = ", ".join(map(str, report.target_labels))
        say(f"suspected: images of label {sources} turn into {targets}")
    for finding in report.static:
        say(f"  {finding.file}: {finding.rule}: {finding.where}: {finding.message}")
    for it in report.scanners:
        result = it.why if it.score is None else f"score {it.score:.3f}"
        say(f"  {it.name} {it.outcome}: {result}")
    say(f"{report.passes:,} image passes, {report.seconds:.2f} s of processor time")
