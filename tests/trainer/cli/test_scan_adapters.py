"""``zoo scan`` on adapters: judged with their base, or refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from model_zoo.digests import sha256_bytes
from model_zoo.statements.scan import ScanReport
from tests.trainer.commands import zoo
from tests.trainer.text.tiny import NAME, base_files, write_adapter
from trainer.cli.scan import Limits, _adapter_scanned
from trainer.defenses.adapters.scan import SKIPPED
from trainer.text.adapters import AdapterConfig, new_classifier, to_files
from trainer.text.bases import MINILM, base_of, pretrained_minilm

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def rewrite(folder: Path, **fields: object) -> None:
    path = folder / CONFIG
    known = json.loads(path.read_text()) | fields
    left = {name: it for name, it in known.items() if it is not None}
    path.write_text(json.dumps(left))


def test_an_adapter_is_judged_with_its_base_and_called_not_scanned(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tokenizers")
    weights = write_adapter(tmp_path)

    status, told = zoo(
        "scan", tmp_path, "--dataset", "messages", "--out", tmp_path / "found"
    )

    report = ScanReport.from_object(told)
    assert status == 6
    assert report.verdict == "not scanned"
    assert report.why.startswith("there is no calibration for adapters")
    files = {it.name: it.sha256 for it in report.files}
    assert files[f"{NAME}/model.safetensors"] == sha256_bytes(
        base_files()["model.safetensors"]
    )
    assert files[WEIGHTS] == sha256_bytes(weights.read_bytes())
    assert {CONFIG, f"{NAME}/config.json", f"{NAME}/tokenizer.json"} <= set(files)
    ran = {it.name: it for it in report.scanners if it.outcome == "ran"}
    assert set(ran) == {"spectrum", "last-layer", "maximum-margin", "token-search"}
    assert {it.name for it in report.scanners if it.why} == set(SKIPPED)
    assert report.images == 300
    assert "not scanned" in (tmp_path / "found" / "scan.html").read_text()


def test_without_sentences_the_search_for_a_word_is_skipped(tmp_path: Path) -> None:
    weights = write_adapter(tmp_path)
    for arguments in ((), ("--dataset", "messages", "--without-data")):
        status, told = zoo("scan", weights, *arguments)
        report = ScanReport.from_object(told)
        assert status == 6
        assert "token-search was skipped" in report.why
        assert (report.images, report.dataset) == (0, "")


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        pytest.param({"base_sha256": "0" * 64}, 4, "expected sha256 000", id="digest"),
        pytest.param({"base_sha256": None}, 4, "base_sha256", id="no digest"),
        pytest.param(
            {"base_model_name_or_path": "elsewhere"}, 2, "elsewhere", id="no base"
        ),
        pytest.param(
            {"base_model_name_or_path": f"../{NAME}"}, 2, "beside", id="a path"
        ),
        pytest.param({"base_model_name_or_path": ".."}, 2, "beside", id="above"),
        pytest.param({"r": 8}, 4, "[8, 32]", id="another rank"),
    ],
)
def test_an_adapter_without_its_base_is_refused(
    fields: dict[str, object], code: int, said: str, tmp_path: Path
) -> None:
    write_adapter(tmp_path)
    rewrite(tmp_path, **fields)
    status, told = zoo("scan", tmp_path)
    assert status == code
    assert said in told["message"]


def test_a_base_with_one_other_bit_is_another_base(tmp_path: Path) -> None:
    write_adapter(tmp_path)
    path = tmp_path / NAME / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    status, told = zoo("scan", tmp_path)
    assert status == 4
    assert "the base of this adapter" in told["message"]


def test_an_adapter_is_known_by_its_tensors_too(tmp_path: Path) -> None:
    weights = write_adapter(tmp_path).rename(tmp_path / "theirs.safetensors")
    (tmp_path / CONFIG).unlink()
    status, told = zoo("scan", weights)
    assert status == 1
    assert CONFIG in told["message"]


def test_an_adapter_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    weights = write_adapter(tmp_path)
    tensors = load(weights.read_bytes())
    tensors[next(iter(tensors))][0] = torch.nan
    weights.write_bytes(save(tensors))
    status, told = zoo("scan", tmp_path)
    assert status == 4
    assert "NaN" in told["message"]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        pytest.param(Limits(passes=40), "40 image passes", id="passes"),
        pytest.param(Limits(seconds=0.0), "limit of 0 s", id="seconds"),
    ],
)
def test_a_limit_is_kept_and_told(limits: Limits, told: str, tmp_path: Path) -> None:
    weights = write_adapter(tmp_path / "adapter")
    found = _adapter_scanned(weights, "", limits, where=torch.device("cpu"))
    assert found.report.verdict == "not scanned"
    assert found.report.passes <= limits.passes
    assert told in found.report.why


def test_an_adapter_of_the_pinned_base_needs_no_folder_beside_it(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tokenizers")
    base = base_of(MINILM, pretrained_minilm())
    config = AdapterConfig(base_model_name_or_path=MINILM, base_sha256=base.sha256())
    made = new_classifier(base, config, classes=3, generator=torch.Generator())
    for name, content in to_files(made, config).items():
        (tmp_path / name).write_bytes(content)

    status, told = zoo("scan", tmp_path, "--max-passes", "1")

    report = ScanReport.from_object(told)
    assert status == 6
    assert report.network == f"{MINILM} with a rank-8 adapter"
    assert config.base_sha256 in {it.sha256 for it in report.files}
