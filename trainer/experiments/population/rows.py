"""Rows: members trained and scanned, compared to clean ones, and calibrated on."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.scan import ScannerResult
from trainer.data import DATASETS
from trainer.defenses.scanners.calibration import (
    FOLDS,
    Calibration,
    Known,
    calibrate,
)
from trainer.defenses.scanners.references import (
    Numbers,
    References,
    references_of,
    unpacked,
)
from trainer.experiments.engine.cells import Finished
from trainer.experiments.population.members import BACKDOORED
from trainer.experiments.population.populations import Population
from trainer.experiments.population.scans import REFERENCE_MAP
from trainer.experiments.population.triggers import Split
from trainer.experiments.population.yields import UNMADE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """A member that was trained and scanned.

    Attributes:
        split: calibration or test.
        kind: as the member's.
        family: of the trigger.
        attack: as the member's.
        accuracy: on the test set.
        success: ASR; None of a clean network.
        is_backdoored: whether its attack took.
        scanners: what each measured.
        open_map: (labels, pixels), of its weights; None of an update.
    """

    split: Split
    kind: str
    family: str
    attack: str
    accuracy: float
    success: float | None
    is_backdoored: bool
    scanners: Mapping[str, ScannerResult]
    open_map: Numbers | None

    @property
    def is_clean(self) -> bool:
        """Whether nobody attacked it."""
        return self.kind != BACKDOORED

    @property
    def is_known(self) -> bool:
        """Whether scanners are calibrated on it."""
        return self.split == "calibration" and (self.is_clean or self.is_backdoored)

    def features(self, names: Iterable[str]) -> dict[str, float]:
        """Return name -> number of all features of some scanners."""
        found: dict[str, float] = {}
        for name in names:
            found |= self.scanners[name].features
        return found


def rows_of(
    yields: Sequence[Finished], scans: Sequence[Finished], population: Population
) -> list[Row]:
    """Return the members that were both trained and scanned whole, and are usable."""
    reports = {
        it.part["number"]: EvaluationReport.from_object(it.numbers)
        for it in yields
        if UNMADE not in it.numbers
    }
    rows = [
        _row(it, reports[it.part["number"]], population)
        for it in scans
        if it.part["number"] in reports
    ]
    return [it for it in rows if it.accuracy >= population.least_accuracy]


def _row(scanned: Finished, report: EvaluationReport, population: Population) -> Row:
    results = [ScannerResult.from_object(it) for it in scanned.numbers["scanners"]]
    success = report.attack_success
    return Row(
        **{name: scanned.part[name] for name in ("split", "kind", "family", "attack")},
        accuracy=report.accuracy.rate,
        success=None if success is None else success.rate,
        is_backdoored=success is not None and success.rate >= population.least_success,
        scanners={it.name: it for it in results if it.outcome == "ran"},
        open_map=_open_map(scanned, population),
    )


def _open_map(scanned: Finished, population: Population) -> Numbers | None:
    if "open_map" not in scanned.numbers:
        return None
    classes = DATASETS[population.dataset].classes
    return unpacked(scanned.numbers["open_map"], (classes, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Members beside the clean ones of the calibration split.

    Attributes:
        population: that they are of.
        rows: each with what ``reference-map`` says of it. Members of the calibration
            split were compared to references that they were not among.
        references: all of them; None of updates, which have one of their own each.
    """

    population: Population
    rows: tuple[Row, ...]
    references: References | None


def compared(rows: Sequence[Row], population: Population) -> Compared:
    """Return ``rows`` compared to the clean members of the calibration split.

    Raises:
        ValueError: there are too few of these.
    """
    if rows and all(it.open_map is None for it in rows):
        return Compared(population=population, rows=tuple(rows), references=None)
    known = [it for it in rows if it.is_known]
    folds = [known[number::FOLDS] for number in range(FOLDS)]
    whole = _references(known)
    seen = [_with_reference(it, whole) for it in rows if not it.is_known]
    for fold in folds:
        others = _references(it for other in folds if other is not fold for it in other)
        seen += [_with_reference(it, others) for it in fold]
    return Compared(population=population, rows=tuple(seen), references=whole)


def _references(rows: Iterable[Row]) -> References:
    clean = (it.open_map for it in rows if it.is_clean)
    return references_of([it for it in clean if it is not None])


def _with_reference(row: Row, references: References) -> Row:
    if row.open_map is None:
        return row
    began = time.process_time()
    features, label = references.strangeness(row.open_map)
    result = ScannerResult(
        name=REFERENCE_MAP,
        outcome="ran",
        score=features["strange-peaks"],
        features=features,
        target_labels=(label,),
        seconds=time.process_time() - began,
    )
    return replace(row, scanners={**row.scanners, REFERENCE_MAP: result})


def calibrated(them: Compared, scanners: Sequence[str] = ()) -> Calibration:
    """Return the calibration that the calibration split gives.

    Args:
        them: all members.
        scanners: whose numbers it reads; of the whole population, if none is named.

    Raises:
        ValueError: there are too few members.
    """
    scanners = scanners or them.population.scanners
    known = [
        Known(features=it.features(scanners), backdoored=it.is_backdoored)
        for it in them.rows
        if it.is_known and it.scanners.keys() >= {*scanners}
    ]
    names = sorted(known[0].features) if known else []
    return calibrate(
        known,
        names,
        network=them.population.network,
        dataset=them.population.dataset,
        references=them.references,
    )
