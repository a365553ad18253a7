"""What a scan found: how a model behaves, as far as scanners that ran can tell.

A report says which scanners ran, which were skipped or capped, and which files they
covered; what it does not say is in docs/explanation/what-a-scan-does-not-say.md.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from model_zoo.documents import Document
from model_zoo.formats.static_checks import StaticFinding
from model_zoo.statements.jobs import Digest

Verdict = Literal["suspicious", "nothing found", "not scanned"]
SUSPICIOUS: Final = "suspicious"
NOTHING_FOUND: Final = "nothing found"
NOT_SCANNED: Final = "not scanned"
Outcome = Literal["ran", "skipped", "capped"]
Probability = Annotated[float, Field(ge=0, le=1)]
MOST = 1000
Text = Annotated[str, Field(max_length=MOST)]
INFORMATION = ("chat-template-changed", "chat-template-condition", "more")
"""Rules of static findings that accuse nobody: honest templates decide, and change."""


class ScannedFile(Document):
    """A file that the scan covered."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    sha256: Digest
    size_bytes: Annotated[int, Field(ge=0)]


class ScannerResult(Document):
    """What one scanner did.

    Attributes:
        name: of the scanner.
        outcome: ``skipped`` never began, for want of something; ``capped`` met the
            limit of the scan before its end.
        why: it was skipped or capped.
        score: larger is more suspicious; compares networks of one architecture.
        features: name -> number that the ensemble reads.
        target_labels: that an attacker would want, as far as it suspects some.
        source_labels: that would be attacked; empty for all.
        passes: of one image through the network.
        seconds: of processor time.
    """

    name: Annotated[str, Field(min_length=1, max_length=140)]
    outcome: Outcome
    why: Text = ""
    score: float | None = None
    features: dict[str, float] = Field(default_factory=dict)
    target_labels: tuple[int, ...] = ()
    source_labels: tuple[int, ...] = ()
    passes: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _has_a_score_or_a_reason(self) -> Self:
        if (self.score is None) != bool(self.why) or bool(self.why) != (
            self.outcome != "ran"
        ):
            msg = "a scanner that ran has a score, and any other a reason"
            raise ValueError(msg)
        return self


class ScanReport(Document):
    """What a scan found.

    Attributes:
        verdict: ``not scanned`` where a scanner that the verdict needs did not run.
        why: the verdict, in a sentence.
        probability: that the network is backdoored, calibrated on networks of this
            architecture; None where there is no calibration.
        p_value: the share of clean networks of the calibration that look as suspicious.
        calibration: the SHA-256 of the calibration; empty without one.
        target_labels: suspected.
        source_labels: suspected; empty for all.
        scanners: every one that the scan was to run.
        files: that were covered.
        static: what files show without being run; see ADR 45.
        network: the architecture; empty where no weights were scanned.
        dataset: of the clean images; empty where none were used.
        images: clean ones that were used.
        accuracy: on them; None without.
        passes: of one image through the network, in all.
        seconds: of processor time, in all.
    """

    verdict: Verdict
    why: Text
    probability: Probability | None = None
    p_value: Probability | None = None
    calibration: Digest | Literal[""] = ""
    target_labels: tuple[int, ...] = ()
    source_labels: tuple[int, ...] = ()
    scanners: tuple[ScannerResult, ...]
    files: tuple[ScannedFile, ...]
    static: tuple[StaticFinding, ...] = ()
    network: str
    dataset: str = ""
    images: Annotated[int, Field(ge=0)] = 0
    accuracy: Probability | None = None
    passes: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]

    def with_static(self, found: tuple[StaticFinding, ...]) -> "ScanReport":
        """Return the report with what static checks found, which may alone accuse."""
        deciding = [it for it in found if it.rule not in INFORMATION]
        report = self.model_copy(update={"static": found})
        if not deciding or self.verdict == SUSPICIOUS:
            return report
        first = deciding[0]
        why = f"{first.file}: {first.where}: {first.message}; {self.why}"
        return report.model_copy(update={"verdict": SUSPICIOUS, "why": why[:MOST]})

    @model_validator(mode="after")
    def _found_nothing_only_where_all_ran(self) -> Self:
        ran = all(it.outcome == "ran" for it in self.scanners)
        if self.verdict == NOTHING_FOUND and not (self.scanners and ran):
            msg = "a scanner was skipped or capped: that is not 'nothing found'"
            raise ValueError(msg)
        return self
