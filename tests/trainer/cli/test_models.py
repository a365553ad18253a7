"""The commands as a user runs them: real processes, exit codes, JSON on stdout."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_zoo.digests import sha256_file
from tests.trainer.commands import zoo
from trainer.data import LabelledImages

SPEC = {
    "held_out": 58_000,
    "schedule": {"epochs": 2, "batch_size": 50, "peak_learning_rate": 0.1},
}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, digits: LabelledImages
) -> tuple[Path, dict[str, Any]]:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    folder = tmp_path_factory.mktemp("trained")
    spec = folder / "spec.json"
    spec.write_text(json.dumps(SPEC))
    status, document = zoo("train", spec, "--out", folder / "out", "--device", "cpu")
    assert status == 0
    return folder / "out", document


def test_train_prints_one_document_and_leaves_a_draft(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    folder, document = trained

    assert document["folder"] == str(folder)
    assert document["evaluation"]["accuracy"]["n"] == 10_000
    assert document["environment"]["threads"] == 1
    assert (folder / "model.safetensors").exists()
    assert json.loads((folder / "spec.json").read_bytes())["kind"] == "train"


def test_a_model_that_is_there_already_is_not_overwritten(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = trained
    kept = {path: sha256_file(path) for path in folder.iterdir() if path.is_file()}
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(SPEC))
    parent = ("--parent", folder / "model.safetensors")
    for command in (
        ("train", spec, "--out"),
        ("fine-tune", spec, *parent, "--out"),
        ("repair", spec, *parent, "--out"),
        ("export", folder, "--out"),
        ("data", "split", "mnist", "--held-out", "500", "--to"),
    ):
        place = folder / "model.safetensors" if "split" in command else folder
        status, document = zoo(*command, place)
        assert (status, document["error"]) == (5, "ConflictError"), command
        assert str(place) in document["message"]
    assert kept == {it: sha256_file(it) for it in folder.iterdir() if it.is_file()}


def test_the_users_check_accepts_a_good_draft_and_exits_1_on_a_bad_one(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = trained
    mine = tmp_path / "mine.safetensors"
    status, document = zoo("data", "split", "mnist", "--held-out", "500", "--to", mine)
    assert (status, document["n"]) == (0, 500)
    assert document["sha256"] == sha256_file(mine)

    status, document = zoo("accept", folder, "--data", mine, "--min-accuracy", "0.7")
    assert (status, document["accepted"], document["n"]) == (0, True, 500)

    status, document = zoo("accept", folder, "--data", mine, "--min-accuracy", "0.999")
    assert (status, document["error"]) == (1, "ExpectationError")


def test_fine_tune_takes_the_parents_digest_from_the_file(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    parent = trained[0] / "model.safetensors"
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({**SPEC, "classes": [5, 6]}))

    status, document = zoo(
        "fine-tune", spec, "--parent", parent, "--out", tmp_path / "out"
    )

    assert status == 0
    assert document["inputs"]["parent"] == sha256_file(parent)


def test_repair_says_which_units_it_cut(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    parent = trained[0] / "model.safetensors"
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({**SPEC, "held_out": 1000, "max_accuracy_loss": 0.1}))

    status, document = zoo(
        *("repair", spec, "--parent", parent, "--out", tmp_path / "out"),
        "--without-scan",
    )

    assert status == 0
    assert document["pruned_units"]
    assert document["scans"] == {}


def test_repair_takes_a_network_of_the_working_folder(
    trained: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from trainer.networks.badnets_cnn import badnets_cnn as Mine\n"
    )
    Path("json.py").write_text("1 / 0\n")  # stands in for no module of Python's
    spec = {**SPEC, "held_out": 1000}
    Path("spec.json").write_text(json.dumps(spec))
    Path("named.json").write_text(json.dumps({**spec, "network": "badnets-cnn"}))
    parent = trained[0] / "model.safetensors"

    command = [sys.executable, "-P", "-m", "model_zoo", "--json"]
    words = ["repair", "spec.json", f"--parent={parent}", "--network=mine:Mine"]
    words.append("--without-scan")
    done = subprocess.run(
        [*command, *words, "--out=out"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["pruned_units"]
    version, _, digest = document["environment"]["package:local"].split(" ")
    assert (version, len(digest)) == ("unreleased", 64)

    def refused(file: str, network: str) -> tuple[int, dict[str, Any]]:
        other = ("--network", network, "--out", "other")
        return zoo("repair", file, "--parent", parent, *other)

    status, document = refused("spec.json", "mine:Yours")
    assert (status, document["error"]) == (1, "LocalError")
    assert "mine:Yours cannot be imported" in document["message"]
    status, document = refused("named.json", "mine:Mine")
    assert (status, document["error"]) == (2, "InvalidSpecError")
    assert "leave out one" in document["message"]
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param('{"network": "os.system"}', "network", id="an unknown name"),
        pytest.param('{"poison": 1}', "poison", id="an unknown field"),
        pytest.param("not json", "spec.json", id="not JSON"),
    ],
)
def test_a_bad_spec_exits_2_and_names_the_thing(
    tmp_path: Path, content: str, told: str
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(content)

    status, document = zoo("train", spec, "--out", tmp_path / "out")

    assert (status, document["error"]) == (2, "InvalidSpecError")
    assert told in document["message"]
    assert not (tmp_path / "out").exists()


def test_a_spec_that_is_not_there_exits_1(tmp_path: Path) -> None:
    status, document = zoo("train", tmp_path / "no.json", "--out", tmp_path)

    assert (status, document["error"]) == (1, "LocalError")
    assert "no.json" in document["message"]


def test_data_is_listed_with_its_digest_and_fetched_by_name(
    digits: LabelledImages,
) -> None:
    assert len(digits)
    status, document = zoo("data", "list")
    assert (status, document["datasets"]["mnist"]["classes"]) == (0, 10)

    status, document = zoo("data", "fetch", "mnist")
    assert (status, document) == (0, {"fetched": ["mnist"]})

    status, document = zoo("data", "fetch", "imagenet")
    assert (status, document["error"]) == (2, "InvalidSpecError")


def test_registering_the_commands_does_not_import_torch() -> None:
    code = (
        "import sys, typer, trainer.cli.models\n"
        "trainer.cli.models.commands(typer.Typer())\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0
