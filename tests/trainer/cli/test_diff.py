"""``zoo diff`` on networks of which one differs by a rule that was written into it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model_zoo.digests import sha256_file
from tests.trainer.commands import zoo
from trainer.data import LabelledImages
from trainer.evaluation.acceptance import write_validation
from trainer.networks import NETWORKS
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import seeded_globals

LABEL = 4
"""What the newer network says more often than the older one."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    with seeded_globals(5):
        network = NETWORKS["badnets-cnn"](10)
    (folder / "old.safetensors").write_bytes(to_bytes(network))
    with torch.no_grad():
        network.get_parameter("fully_connected.fc2.weight")[LABEL] += 1
    (folder / "new.safetensors").write_bytes(to_bytes(network))
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 1, 28, 28), dtype=torch.uint8, generator=generator)
    data = LabelledImages(images=images, labels=torch.arange(60) % 10)
    write_validation(folder / "data.safetensors", data)
    return folder


def test_weights_alone_are_compared_where_nothing_says_which_network_it_is(
    models: Path, tmp_path: Path
) -> None:
    status, told = zoo(
        "diff",
        models / "old.safetensors",
        models / "new.safetensors",
        "--out",
        tmp_path / "out",
    )
    assert status == 0, told
    assert told["new"]["sha256"] == sha256_file(models / "new.safetensors")
    changed = [it for it in told["weights"]["tensors"] if not it["identical"]]
    assert [it["name"] for it in changed] == ["fully_connected.fc2.weight"]
    assert changed[0]["stable_rank"] == pytest.approx(1, abs=1e-4)
    assert changed[0]["rows_changed"] == pytest.approx(1 / 10)
    assert (told["behaviour"], told["network"]) == (None, None)
    assert told["verdict"] == "not calibrated"
    assert json.loads((tmp_path / "out" / "diff.json").read_bytes()) == told
    page = (tmp_path / "out" / "diff.html").read_text()
    assert "1 of 8 tensors changed" in page
    assert "Not compared" in page


def test_answers_are_compared_on_data_on_noise_and_on_what_is_looked_for(
    models: Path, tmp_path: Path
) -> None:
    status, told = zoo(
        "diff",
        models / "old.safetensors",
        models / "new.safetensors",
        *("--network", "badnets-cnn", "--data", models / "data.safetensors"),
        *("--out", tmp_path / "out"),
    )
    assert status == 0, told
    found = told["behaviour"]
    assert found["data"]["agreed"]["n"] == 60
    for answers in (found["data"], found["noise"], found["perturbed"][-1]["answers"]):
        for old, row in enumerate(answers["changes"]):
            assert all(
                count == 0 for new, count in enumerate(row) if new not in {old, LABEL}
            )
    assert found["data"]["agreed"]["successes"] < 60
    page = (tmp_path / "out" / "diff.html").read_text()
    assert f"is now {LABEL}" in page
    assert "data:image/png" in page


def test_a_model_beside_its_spec_is_compared_on_held_out_images(
    models: Path, tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "m.safetensors").write_bytes((models / "new.safetensors").read_bytes())
    spec = {"kind": "train", "network": "badnets-cnn", "dataset": "mnist"}
    (folder / "spec.json").write_text(json.dumps(spec))
    status, told = zoo("diff", models / "old.safetensors", folder, "--held-out", "50")
    assert status == 0, told
    assert told["network"] == "badnets-cnn"
    assert told["behaviour"]["data"]["agreed"]["n"] == 50
    assert [it["n"] for it in told["behaviour"]["accuracy"]] == [50, 50]


def test_an_update_of_what_no_updates_were_calibrated_on_gets_no_verdict(
    models: Path, digits: LabelledImages
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    status, told = zoo(
        "diff",
        models / "old.safetensors",
        models / "new.safetensors",
        *("--network", "badnets-cnn", "--dataset", "mnist", "--held-out", "600"),
    )
    assert (status, told["verdict"]) == (0, "not calibrated")
    assert "no updates of this architecture and data set" in told["why"]


def test_equal_files_do_not_differ(models: Path) -> None:
    same = models / "old.safetensors"
    status, told = zoo("diff", same, same)
    assert (status, told["identical"]) == (0, True)


def test_any_state_dict_is_compared_and_a_nan_in_one_is_refused(
    tmp_path: Path,
) -> None:
    save_file({"a": torch.ones(2, 3), "b": torch.ones(2)}, tmp_path / "old.safetensors")
    save_file({"a": torch.ones(3, 2), "c": torch.ones(2)}, tmp_path / "new.safetensors")
    status, told = zoo(
        "diff", tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    )
    assert status == 0, told
    weights = told["weights"]
    assert (weights["missing"], weights["superfluous"]) == (["b"], ["c"])
    assert weights["reshaped"] == [{"name": "a", "old": [2, 3], "new": [3, 2]}]
    save_file({"a": torch.full((2,), torch.nan)}, tmp_path / "nan.safetensors")
    status, told = zoo(
        "diff", tmp_path / "old.safetensors", tmp_path / "nan.safetensors"
    )
    assert (status, told["error"]) == (4, "MalformedDocumentError")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("old.safetensors", "none.safetensors"), 1, "cannot read"),
        (("old.safetensors", "pickled.safetensors"), 4, "found a pickle"),
        (
            ("old.safetensors", "new.safetensors", "--network", "signs-cnn"),
            4,
            "not a signs-cnn",
        ),
        (("old.safetensors", "new.safetensors", "--out", "taken"), 5, "taken"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(models)
    Path("pickled.safetensors").write_bytes(b"\x80\x04 pickled")
    Path("taken").mkdir(exist_ok=True)
    Path("taken/thesis.txt").write_text("years of work")
    status, told = zoo("diff", *words)
    assert status == code, told
    assert message in told["message"]
