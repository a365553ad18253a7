"""``zoo scan`` on networks that ``zoo train`` and hands made."""

import json
from pathlib import Path

import pytest
import torch

from model_zoo.statements.scan import ScanReport
from tests.model_zoo.formats.test_static_checks import BACKDOOR
from tests.trainer.commands import zoo
from trainer.data import LabelledImages
from trainer.evaluation.acceptance import write_validation
from trainer.networks import NETWORKS
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import seeded_globals

OF_MNIST = ("--network", "badnets-cnn", "--dataset", "mnist")
CODES = {"nothing found": 0, "suspicious": 1, "not scanned": 6}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network: what a scan says of it does not matter here."""
    with seeded_globals(0):
        network = NETWORKS["badnets-cnn"](10)
    path = tmp_path_factory.mktemp("scan") / "model.safetensors"
    path.write_bytes(to_bytes(network))
    return path


def test_weights_alone_are_scanned_without_data(weights: Path, tmp_path: Path) -> None:
    status, told = zoo(
        "scan",
        weights,
        "--network",
        "badnets-cnn",
        "--without-data",
        "--out",
        tmp_path / "found",
    )

    report = ScanReport.from_object(told)
    assert status == CODES[report.verdict] != 0
    outcomes = {it.name: it.outcome for it in report.scanners}
    assert outcomes["last-layer"] == outcomes["open-map"] == "ran"
    assert outcomes["universal"] == "skipped"
    assert report.files[0].size_bytes == weights.stat().st_size
    kept = (tmp_path / "found" / "scan.json").read_bytes()
    assert json.loads(kept) == told
    assert "skipped" in (tmp_path / "found" / "scan.html").read_text()


def test_a_limit_is_kept_and_told(weights: Path, digits: LabelledImages) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    for limit in (("--max-passes", "300"), ("--max-seconds", "1")):
        status, told = zoo("scan", weights, *OF_MNIST, "--held-out", "500", *limit)
        report = ScanReport.from_object(told)
        assert status == 6
        assert report.images == 500
        if limit[0] == "--max-passes":
            assert report.passes <= 300
            assert "300 image passes" in report.why


def test_images_of_ones_own_are_used_and_named_scanners_alone_run(
    weights: Path, tmp_path: Path
) -> None:
    pixels = torch.zeros(40, 1, 28, 28, dtype=torch.uint8)
    own = LabelledImages(images=pixels, labels=torch.arange(40) % 10)
    write_validation(tmp_path / "own.safetensors", own)

    status, told = zoo(
        "scan",
        weights,
        "--network",
        "badnets-cnn",
        "--data",
        tmp_path / "own.safetensors",
        "--scanner",
        "last-layer",
        "--scanner",
        "maximum-margin",
    )

    report = ScanReport.from_object(told)
    assert status == CODES[report.verdict]
    assert [it.name for it in report.scanners] == ["last-layer", "maximum-margin"]
    assert (report.images, report.dataset) == (40, "")
    assert report.accuracy == pytest.approx(0.1)


def test_an_architecture_of_ones_own_is_named_by_its_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from trainer.networks import SplitNetwork\n\n"
        "def make(classes):\n"
        "    head = nn.Sequential(nn.Flatten(), nn.Linear(16, classes))\n"
        "    return SplitNetwork(nn.Identity(), head, image_shape=(1, 4, 4))\n"
    )
    monkeypatch.chdir(tmp_path)
    network = torch.nn.Linear(16, 3)
    state = torch.nn.ModuleDict(
        {"fully_connected": torch.nn.ModuleDict({"1": network})}
    )
    Path("weights.safetensors").write_bytes(to_bytes(state))

    status, told = zoo(
        "scan", "weights.safetensors", "--network", "mine:make", "--without-data"
    )

    assert status in CODES.values()
    assert told["network"] == "local:network"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--without-data", "--held-out", "5"), 2, "give one of --data"),
        (("--network", "badnets-cnn"), 2, "of which data set?"),
        (("--network", "signs-cnn", "--without-data"), 4, "not a signs-cnn"),
    ],
)
def test_what_cannot_be_scanned_is_refused_in_words(
    weights: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    status, told = zoo("scan", weights, *arguments)
    assert status == code
    assert message in told["message"]


def test_a_graph_that_decides_by_its_input_is_suspicious_whatever_the_weights_are(
    weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights.read_bytes())
    (folder / "model.onnx").write_bytes(BACKDOOR)

    found = tmp_path / "found"
    status, told = zoo(
        "scan", folder, "--network", "badnets-cnn", "--without-data", "--out", found
    )

    assert status == 1, told
    assert told["verdict"] == "suspicious"
    assert {it["file"] for it in told["static"]} == {"model.onnx"}
    assert "model.onnx" in told["why"]
    assert "What the files show" in (found / "scan.html").read_text()
