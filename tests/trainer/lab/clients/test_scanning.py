"""Whoever scans what he pulled takes nothing that no scanner has acquitted."""

from pathlib import Path

import pytest
import torch

from model_zoo.errors import MalformedDocumentError
from model_zoo.statements.scan import ScanReport, Verdict
from tests.trainer.defenses.scanners.test_scan import REQUEST, scanned
from trainer.data import LabelledImages
from trainer.defenses.scanners.scan import Scan
from trainer.lab.clients.scanning import (
    NotScannedError,
    Scanning,
    SuspiciousError,
    require_nothing_found,
)
from trainer.networks import NETWORKS
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import seeded_globals


@pytest.fixture
def scanning(digits: LabelledImages) -> Scanning:
    images = digits.select(torch.arange(1000))
    return Scanning(network="badnets-cnn", dataset="mnist", images=images)


def concluded(verdict: Verdict) -> Scan:
    report: ScanReport = scanned("none").report
    ran = tuple(it.model_copy(update={"outcome": "ran"}) for it in report.scanners)
    return Scan(
        report=report.model_copy(update={"verdict": verdict, "scanners": ran}),
        triggers={},
    )


def test_only_nothing_found_is_taken() -> None:
    require_nothing_found(concluded("nothing found"))
    with pytest.raises(SuspiciousError):
        require_nothing_found(concluded("suspicious"))
    with pytest.raises(NotScannedError):
        require_nothing_found(concluded("not scanned"))


def test_a_network_without_a_calibration_is_not_acquitted() -> None:
    assert REQUEST.calibration is None
    with pytest.raises(NotScannedError, match="no calibration"):
        require_nothing_found(scanned("none"))


def test_a_network_that_guesses_is_not_acquitted(
    scanning: Scanning, tmp_path: Path
) -> None:
    weights = tmp_path / "model.safetensors"
    with seeded_globals(1):
        weights.write_bytes(to_bytes(NETWORKS["badnets-cnn"](10)))
    found = scanning(weights)
    assert found.report.files[0].name == "model.safetensors"
    assert found.report.images == 1000
    with pytest.raises(NotScannedError, match="no classifier"):
        require_nothing_found(found)


def test_a_file_that_is_no_such_network_is_refused(
    scanning: Scanning, tmp_path: Path
) -> None:
    weights = tmp_path / "model.safetensors"
    with seeded_globals(1):
        weights.write_bytes(to_bytes(NETWORKS["signs-cnn"](10)))
    with pytest.raises(MalformedDocumentError):
        scanning(weights)
