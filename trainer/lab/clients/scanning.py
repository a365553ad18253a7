"""What a victim does who looks at how a model behaves, not only at who made it."""

from dataclasses import dataclass
from pathlib import Path

from model_zoo.errors import VerificationError
from model_zoo.statements.scan import NOT_SCANNED, NOTHING_FOUND
from trainer.data import LabelledImages
from trainer.defenses.scanners.scan import Request, Scan, scan_file


class SuspiciousError(VerificationError):
    """A scanner finds a backdoor likely."""


class NotScannedError(VerificationError):
    """No scanner could say anything, and silence is no acquittal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanning:
    """How weights are scanned that are to be of one architecture and data set.

    Attributes:
        network: the architecture.
        dataset: what it is trained on.
        images: clean ones of the victim's own.
    """

    network: str
    dataset: str
    images: LabelledImages

    def __call__(self, weights: Path) -> Scan:
        """Return what a scan of a safetensors file found, as ``zoo scan`` does.

        Raises:
            VerificationError: it is no such network.
            InvalidSpecError: the images are not of this network.
        """
        request = Request(network=self.network, dataset=self.dataset)
        return scan_file(weights, self.images, request)


def require_nothing_found(found: Scan) -> None:
    """Accept weights in which every scanner ran to its end and found nothing.

    Raises:
        SuspiciousError: a backdoor is likely.
        NotScannedError: a scanner did not run, or nobody can say what its numbers mean.
    """
    report = found.report
    if report.verdict == NOT_SCANNED:
        raise NotScannedError(report.why)
    if report.verdict != NOTHING_FOUND:
        raise SuspiciousError(report.why)
