"""``zoo rebuild`` as a user runs it, on folders: exit codes and what is told."""

import json
from pathlib import Path

import pytest
import torch

from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import (
    Provenance,
    ReleaseStatement,
    sign_provenance,
    sign_release,
    subjects_of,
)
from model_zoo.statements.jobs import Schedule, TrainSpec
from model_zoo.statements.release_json import write_bundle
from tests.trainer.commands import zoo
from trainer.builds.build import build, inputs_of
from trainer.data import LabelledImages
from trainer.installed import code_digest
from trainer.lab.attacks.malicious_worker import poisoned
from trainer.training.devices import environment

BUILDER = SigningKey.generate()
SPEC = TrainSpec(
    held_out=59_500, schedule=Schedule(epochs=2, peak_learning_rate=0.1), seed=7
)


def released(folder: Path, made_of: TrainSpec) -> Path:
    """Return a pulled folder whose builder says that it came of SPEC."""
    build(made_of, folder=folder, device="cpu")
    manifest = manifest_of(folder)
    provenance = Provenance(
        subjects=subjects_of(manifest),
        kind="train",
        spec=SPEC.to_object(),
        inputs=inputs_of(SPEC),
        code=code_digest(),
        environment=environment(torch.device("cpu"), "auto"),
        builder=BUILDER.public.keyid,
        invocation="one",
        started_at="2026-11-22T13:00:00Z",
        finished_at="2026-11-22T13:00:01Z",
    )
    statement = ReleaseStatement(ReleaseName.parse("alice/digits@1"), manifest)
    write_bundle(
        folder,
        envelope=sign_release(statement, SigningKey.generate()),
        provenance=sign_provenance(provenance, BUILDER),
    )
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, digits: LabelledImages) -> Path:
    """A builder's key and spec, an honest release and a poisoned one."""
    assert len(digits)  # MNIST is at hand, or the test is skipped
    folder = tmp_path_factory.mktemp("place")
    (folder / "builder.pub.pem").write_text(BUILDER.public.to_pem())
    (folder / "spec.json").write_text(json.dumps({"kind": "train", **SPEC.to_object()}))
    released(folder / "honest", SPEC)
    lie = poisoned(SPEC)
    assert isinstance(lie, TrainSpec)
    released(folder / "poisoned", lie)
    return folder


def test_an_honest_release_is_rebuilt_and_spot_checked(place: Path) -> None:
    pinned = ("--builder", place / "builder.pub.pem", "--spec", place / "spec.json")
    status, told = zoo("rebuild", place / "honest", *pinned)
    assert (status, told) == (
        0,
        {
            "identical": True,
            "segments": [0, 1],
            "total": 2,
            "miss_probability": 0.0,
            "environment": [],
        },
    )
    status, told = zoo("rebuild", place / "honest", *pinned, "--spot-check", "1")
    assert (status, told["miss_probability"]) == (0, 0.5)


@pytest.mark.parametrize("how", [[], ["--spot-check", "1"]], ids=["all", "one"])
def test_a_poisoned_release_exits_1_and_says_what_differed(
    place: Path, how: list[str]
) -> None:
    key = place / "builder.pub.pem"
    status, told = zoo("rebuild", place / "poisoned", "--builder", key, *how)
    assert (status, told["error"]) == (1, "ExpectationError")
    assert "not reproduced" in told["message"]
    assert "checkpoint-00" in told["message"]


def test_what_is_pinned_is_held_against_the_provenance(
    place: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pub.pem"
    other.write_text(SigningKey.generate().public.to_pem())
    status, told = zoo("rebuild", place / "honest", "--builder", other)
    assert (status, told["error"]) == (4, "ThresholdNotMetError")

    spec = tmp_path / "spec.json"
    spec.write_text('{"kind": "train", "seed": 8}')
    key = place / "builder.pub.pem"
    status, told = zoo("rebuild", place / "honest", "--builder", key, "--spec", spec)
    assert (status, told["error"]) == (4, "ProvenanceMismatchError")


def test_without_anything_pinned_nothing_is_believed(place: Path) -> None:
    status, told = zoo("rebuild", place / "honest")
    assert (status, told["error"]) == (2, "InvalidSpecError")
    status, told = zoo("rebuild", "0" * 32, "--builder", place / "builder.pub.pem")
    assert (status, told["error"]) == (2, "InvalidSpecError")
    assert "give --builder and --spec" in told["message"]


def test_a_name_that_is_no_release_s_folder_here_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, told = zoo("rebuild", "alice/digits")
    assert (status, told["error"]) == (2, "InvalidSpecError")
    assert "alice/digits: no such folder" in told["message"]
    assert "--trust" in told["message"]

    (tmp_path / "alice" / "digits" / "1").mkdir(parents=True)  # as zoo pull --frozen
    status, told = zoo("rebuild", "alice/digits")
    assert (status, told["error"]) == (2, "InvalidSpecError")
    assert "no release.json in it" in told["message"]
    assert "with its version" in told["message"]


def test_more_segments_than_there_are_is_refused(place: Path) -> None:
    key = place / "builder.pub.pem"
    status, told = zoo(
        "rebuild", place / "honest", "--builder", key, "--spot-check", "3"
    )
    assert (status, told["error"]) == (2, "InvalidSpecError")
    assert "2 segments" in told["message"]
