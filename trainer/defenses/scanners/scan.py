"""A scan: every scanner asked for runs once, and one verdict comes of all of them.

A verdict fails closed: what was skipped or capped is never "nothing found".
"""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.scan import (
    NOT_SCANNED,
    NOTHING_FOUND,
    SUSPICIOUS,
    ScannedFile,
    ScannerResult,
    ScanReport,
    Verdict,
)
from trainer.data.images import LabelledImages
from trainer.defenses.scanners import ENSEMBLE, EXPLAINING, SCANNERS
from trainer.defenses.scanners.calibration import Calibration, calibrations
from trainer.defenses.scanners.maximum_margin import LEVEL, P_VALUE
from trainer.defenses.scanners.subject import (
    Budget,
    BudgetSpentError,
    Finding,
    Subject,
)
from trainer.files import read_bytes
from trainer.networks import SplitNetwork
from trainer.networks.checkpoints import from_bytes
from trainer.networks.inference import predict

CPU = torch.device("cpu")
MOST_PASSES, MOST_SECONDS = 200_000, 600.0
DECIMALS = 6
MOST_CHARACTERS = 1000
LEAST_ACCURACY = 2.0
"""On the clean images, in shares of what guessing gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scan that is over.

    Attributes:
        report: what it found.
        triggers: scanner -> (C, H, W) float32 that it recovered.
    """

    report: ScanReport
    triggers: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be scanned, and how.

    Attributes:
        network: the name of the architecture.
        dataset: of the images; empty without.
        files: that the network was read from, if it was.
        scanners: names in SCANNERS.
        calibration: of architecture and data set; None where there is none.
        passes: of one image through the network, at most.
        seconds: at most.
        seed: of every draw.
    """

    network: str
    dataset: str = ""
    files: tuple[ScannedFile, ...] = ()
    scanners: Sequence[str] = ENSEMBLE
    calibration: Calibration | None = None
    passes: int = MOST_PASSES
    seconds: float = MOST_SECONDS
    seed: int = 0


def scan_file(
    weights: Path,
    images: LabelledImages | None,
    request: Request,
    *,
    device: torch.device = CPU,
) -> Scan:
    """Return what the scanners found in a weights file.

    Args:
        weights: a safetensors file, from anyone.
        images: as for ``scan``.
        request: whose file is this one, and whose calibration is the one that there is
            for the network and data set.
        device: where they run.

    Raises:
        InvalidSpecError: no such scanner, or the images are not of this network.
        VerificationError: it is no such network.
        LocalError: it cannot be read.
    """
    data = read_bytes(weights)
    file = ScannedFile(
        name=weights.name, sha256=sha256_bytes(data), size_bytes=len(data)
    )
    completed = replace(
        request,
        files=(file,),
        calibration=calibrations().get((request.network, request.dataset)),
    )
    network = from_bytes(data, network=request.network).to(device)
    return scan(network, images, completed)


def scan(
    network: SplitNetwork, images: LabelledImages | None, request: Request
) -> Scan:
    """Return what the scanners found in ``network``, which is not written.

    Args:
        network: on the device of the scan.
        images: clean ones of the defender's own; None where there are none.
        request: the rest.

    Raises:
        InvalidSpecError: no such scanner, or the images are not of this network.
    """
    scanners = {name: SCANNERS[name] for name in request.scanners}
    frozen = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    calibration = request.calibration
    subject = Subject(
        network=frozen.to(memory_format=torch.channels_last),
        images=images,
        budget=Budget(passes=request.passes, seconds=request.seconds),
        generator=torch.Generator().manual_seed(request.seed),
        references=None if calibration is None else calibration.references,
    )
    began = time.process_time()
    right = None
    if images is not None and len(images):
        _require_labels(images, frozen.classes)
        answers = predict(frozen, images.images, device=subject.device)
        right = (answers == images.labels).double().mean().item()
    ran = [run_scanner(name, it, subject) for name, it in scanners.items()]
    report = _concluded(ran, request, subject, right=right)
    if report.verdict == SUSPICIOUS and tuple(request.scanners) == ENSEMBLE:
        ran += [run_scanner(name, SCANNERS[name], subject) for name in EXPLAINING]
        report = _concluded(ran, request, subject, right=right)
    seconds = round(time.process_time() - began, 3)
    return Scan(
        report=report.model_copy(update={"seconds": seconds}),
        triggers={it.name: found.cpu() for it, found in ran if found is not None},
    )


def _require_labels(images: LabelledImages, classes: int) -> None:
    if int(images.labels.max()) >= classes or int(images.labels.min()) < 0:
        msg = (
            f"the clean images have labels up to {int(images.labels.max())}, the "
            f"network has {classes} classes"
        )
        raise InvalidSpecError(msg)


_Ran = tuple[ScannerResult, Tensor | None]
"""What a scanner did, and the trigger that it recovered."""


class _Scanned(Protocol):
    """Whatever a scanner looks at."""

    @property
    def budget(self) -> Budget: ...


S = TypeVar("S", bound=_Scanned)


def run_scanner(name: str, scanner: Callable[[S], Finding], subject: S) -> _Ran:
    """Run one scanner; return what it did, and the trigger that it recovered."""
    before, began = subject.budget.spent, time.process_time()
    result, trigger = _tried(name, scanner, subject)
    cost = {
        "passes": subject.budget.spent - before,
        "seconds": round(time.process_time() - began, 3),
    }
    return result.model_copy(update=cost), trigger


def _tried(name: str, scanner: Callable[[S], Finding], subject: S) -> _Ran:
    """Return what ``run_scanner`` does, without the cost."""
    try:
        found = scanner(subject)
    except BudgetSpentError as error:
        why = f"it met {error}"
        return ScannerResult(name=name, outcome="capped", why=why), None
    except InvalidSpecError as error:
        why = str(error)[:MOST_CHARACTERS]
        return ScannerResult(name=name, outcome="skipped", why=why), None
    numbers = [found.score, *found.features.values()]
    if not all(map(math.isfinite, numbers)):
        why = "its numbers are not finite"
        return ScannerResult(name=name, outcome="skipped", why=why), None
    result = ScannerResult(
        name=name,
        outcome="ran",
        score=round(found.score, DECIMALS),
        features={key: round(it, DECIMALS) for key, it in found.features.items()},
        target_labels=found.target_labels,
        source_labels=found.source_labels,
    )
    return result, found.trigger


def _concluded(
    ran: Sequence[_Ran], request: Request, subject: Subject, *, right: float | None
) -> ScanReport:
    """Return the report; the seconds are filled in by the caller.

    Args:
        ran: what was run so far.
        request: what was asked.
        subject: of the scan.
        right: share of the clean images that it answers right; None without any.
    """
    results = tuple(it for it, _ in ran)
    found = _judged(results, request.calibration)
    if right is not None and right < LEAST_ACCURACY / subject.classes:
        why = f"it answers {right:.1%} of the clean images right: that is no classifier"
        found = _Judgement(NOT_SCANNED, why)
    idle = [f"{it.name} was {it.outcome}: {it.why}" for it in results if it.why]
    verdict, why = found.verdict, found.why
    if verdict != SUSPICIOUS and idle:
        verdict, why = NOT_SCANNED, "; ".join([*idle, why])
    suspects = _suspects(results) if verdict == SUSPICIOUS else None
    calibration = request.calibration
    n = 0 if subject.images is None else len(subject.images)
    return ScanReport(
        verdict=verdict,
        why=why[:MOST_CHARACTERS],
        probability=found.probability,
        p_value=found.p_value,
        calibration="" if calibration is None else calibration.digest(),
        target_labels=suspects.target_labels if suspects else (),
        source_labels=suspects.source_labels if suspects else (),
        scanners=results,
        files=request.files,
        network=request.network,
        dataset=request.dataset if n else "",
        images=n,
        accuracy=None if right is None else round(right, DECIMALS),
        passes=subject.budget.spent,
        seconds=0.0,
    )


@dataclass(frozen=True, slots=True)
class _Judgement:
    verdict: Verdict
    why: str
    probability: float | None = None
    p_value: float | None = None


def _judged(
    results: Sequence[ScannerResult], calibration: Calibration | None
) -> _Judgement:
    """Return the verdict of what ran; what did not run is the caller's concern."""
    features = {key: it for result in results for key, it in result.features.items()}
    if calibration is None:
        return _judged_alone(features)
    absent = set(calibration.features) - features.keys()
    if absent:
        why = (
            f"the calibration reads what was not measured: {', '.join(sorted(absent))}"
        )
        return _Judgement(NOT_SCANNED, why)
    score = calibration.score(features)
    probability = round(calibration.probability(score), DECIMALS)
    is_suspicious = score >= calibration.threshold
    return _Judgement(
        SUSPICIOUS if is_suspicious else NOTHING_FOUND,
        f"the probability of a backdoor is {probability:.1%}",
        probability,
        round(calibration.p_value(score), DECIMALS),
    )


def _judged_alone(features: Mapping[str, float]) -> _Judgement:
    """Return the verdict where no network of this architecture was ever calibrated on.

    The maximum margin compares the labels of one network with each other; see its
    source for the level. It does not see every attack, so that alone it can accuse
    but not acquit.
    """
    without = "there is no calibration for this architecture and data set"
    p_value = features.get(P_VALUE)
    if p_value is None or p_value >= LEVEL:
        return _Judgement(NOT_SCANNED, without, None, p_value)
    why = f"{without}; by its maximum margin alone, p = {p_value:.3f}"
    return _Judgement(SUSPICIOUS, why, None, p_value)


def _suspects(results: Sequence[ScannerResult]) -> ScannerResult | None:
    """Return the result whose labels are suspected: of the most telling scanner.

    One perturbation that turns images of every class into a label outweighs what the
    later scanners say of single classes.
    """
    named = {it.name: it for it in results if it.target_labels}
    whole = named.get("universal")
    if whole is not None and whole.score is not None and whole.score > 0:
        return whole
    return next(reversed(named.values()), None)
