"""One verdict of all scanners: it fails closed, and says what ran."""

import dataclasses

import pytest
import torch

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.scan import ScannedFile, ScannerResult, ScanReport
from tests.trainer.defenses.scanners.planted import ALL, CLASSES, images, network
from trainer.defenses.scanners import ENSEMBLE, EXPLAINING
from trainer.defenses.scanners.calibration import Calibration, Known, calibrate
from trainer.defenses.scanners.page import as_html
from trainer.defenses.scanners.scan import Request, Scan, scan

FILE = ScannedFile(name="model.safetensors", sha256="0" * 64, size_bytes=7)
RAN = ("maximum-margin", "universal", "by-class")
REQUEST = Request(network="planted", dataset="columns", files=(FILE,), scanners=RAN)


def known(attack: str, seed: int) -> Known:
    request = dataclasses.replace(REQUEST, seed=seed)
    report = scan(network(attack), images(), request).report
    features = {
        key: it for result in report.scanners for key, it in result.features.items()
    }
    return Known(features=features, backdoored=attack == ALL)


@pytest.fixture(scope="module")
def some() -> list[Known]:
    return [known(attack, seed) for seed in range(12) for attack in (ALL, "none")]


@pytest.fixture(scope="module")
def calibration(some: list[Known]) -> Calibration:
    names = ("universal-2", "by-class-2", "margin-ratio")
    return calibrate(some, names, network="planted", dataset="columns")


def scanned(attack: str, **more: object) -> Scan:
    shown = more.pop("shown", images())
    request = dataclasses.replace(REQUEST, **more)  # type: ignore[arg-type]
    return scan(network(attack), shown, request)  # type: ignore[arg-type]


def test_a_backdoor_is_suspicious_and_its_label_named(calibration: Calibration) -> None:
    found = scanned(ALL, calibration=calibration, seed=99)
    assert found.report.verdict == "suspicious"
    assert found.report.probability is not None
    assert found.report.probability > 0.5
    assert found.report.target_labels == (2,)
    assert found.report.calibration == calibration.digest()
    assert found.triggers.keys() == {"universal", "by-class"}


def test_the_ensemble_says_which_labels_a_likely_backdoor_joins_and_no_others(
    some: list[Known],
) -> None:
    names = ("universal-2", "margin-ratio")
    calibration = calibrate(some, names, network="planted", dataset="columns")
    backdoored, clean = (
        scanned(attack, calibration=calibration, scanners=ENSEMBLE)
        for attack in (ALL, "none")
    )
    ran = [it.name for it in backdoored.report.scanners]
    assert ran == [*ENSEMBLE, *EXPLAINING]
    assert backdoored.report.verdict == "suspicious"
    assert {"universal", *EXPLAINING} == backdoored.triggers.keys()
    assert [it.name for it in clean.report.scanners] == [*ENSEMBLE]
    assert clean.report.passes < backdoored.report.passes / 2
    enough = clean.report.passes + 1
    capped = scanned(ALL, calibration=calibration, scanners=ENSEMBLE, passes=enough)
    assert capped.report.verdict == "suspicious"
    assert capped.report.scanners[-1].outcome == "capped"


def test_a_clean_network_gives_nothing_found_and_the_cost(
    calibration: Calibration,
) -> None:
    report = scanned("none", calibration=calibration, seed=99).report
    assert report.verdict == "nothing found"
    assert report.target_labels == ()
    assert report.accuracy == 1.0
    assert report.passes == sum(it.passes for it in report.scanners) > 0
    assert report.files == (FILE,)


def test_what_was_capped_is_never_nothing_found(calibration: Calibration) -> None:
    report = scanned("none", calibration=calibration, passes=500).report
    assert report.verdict == "not scanned"
    assert "limit of 500 image passes" in report.why
    assert {it.outcome for it in report.scanners} == {"ran", "capped"}
    assert report.passes <= 500


def test_time_is_a_limit_too(calibration: Calibration) -> None:
    report = scanned("none", calibration=calibration, seconds=0.0).report
    assert report.verdict == "not scanned"
    assert {it.outcome for it in report.scanners} == {"capped"}


def test_without_images_what_needs_them_is_skipped_and_says_so(
    calibration: Calibration,
) -> None:
    report = scanned("none", calibration=calibration, shown=None).report
    assert report.verdict == "not scanned"
    assert "clean images are needed" in report.why
    outcomes = {it.name: it.outcome for it in report.scanners}
    assert outcomes["maximum-margin"] == "ran"
    assert outcomes["universal"] == "skipped"
    assert (report.images, report.accuracy, report.dataset) == (0, None, "")


def test_without_a_calibration_one_can_be_accused_and_not_acquitted() -> None:
    assert scanned("none").report.verdict == "not scanned"
    accused = scanned(ALL).report
    assert (accused.verdict, accused.probability) == ("suspicious", None)
    assert "by its maximum margin alone" in accused.why


def test_the_network_is_not_written_and_equal_seeds_find_equal_things() -> None:
    given = network(ALL)
    before = {name: it.clone() for name, it in given.state_dict().items()}
    first, again = (scan(given, images(), REQUEST).report for _ in range(2))
    assert all(torch.equal(before[n], it) for n, it in given.state_dict().items())
    assert [it.features for it in first.scanners] == [
        it.features for it in again.scanners
    ]


def test_numbers_that_are_not_finite_are_no_finding() -> None:
    broken = network()
    with torch.no_grad():
        broken.get_submodule(broken.output_name).get_parameter("weight").mul_(1e30)
    report = scan(broken, images(), REQUEST).report
    assert report.verdict != "nothing found"


def test_a_network_that_answers_one_label_to_everything_is_not_judged(
    calibration: Calibration,
) -> None:
    constant = network()
    with torch.no_grad():
        constant.get_submodule(constant.output_name).get_parameter("weight").zero_()
    report = scan(
        constant, images(), dataclasses.replace(REQUEST, calibration=calibration)
    ).report
    assert report.verdict == "not scanned"
    assert "12.5% of the clean images right: that is no classifier" in report.why


def test_labels_that_the_network_has_not_are_refused() -> None:
    strange = images().relabelled(images().labels + 1)
    with pytest.raises(InvalidSpecError, match=f"the network has {CLASSES} classes"):
        scan(network(), strange, REQUEST)


def test_an_unknown_scanner_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidSpecError, match="no 'x-ray' here; expected one of last"):
        scanned("none", scanners=("x-ray",))


def test_a_report_cannot_say_nothing_found_of_what_did_not_run() -> None:
    capped = ScannerResult(name="pairs", outcome="capped", why="it met a limit")
    with pytest.raises(ValueError, match="skipped or capped"):
        ScanReport(
            verdict="nothing found",
            why="",
            scanners=(capped,),
            files=(FILE,),
            network="planted",
            passes=0,
            seconds=0.0,
        )
    with pytest.raises(ValueError, match="a scanner that ran has a score"):
        ScannerResult(name="pairs", outcome="ran")


def test_the_page_tells_verdict_scanners_and_pictures_and_stands_alone() -> None:
    found = scanned(ALL)
    page = as_html(found.report, found.triggers)
    assert "suspicious" in page
    assert all(name in page for name in RAN)
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")
