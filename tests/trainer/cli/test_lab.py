"""``zoo lab``: what it asks for before anything is played."""

import json
from pathlib import Path

import pytest
import typer

from model_zoo.cli import main
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import MAX_SPEC_BYTES
from trainer.cli.lab import commands, lab
from trainer.data import LabelledImages

APP = typer.Typer()
commands(APP)
CONTEXT = typer.Context(typer.main.get_command(APP))


@pytest.mark.parametrize("given", ["trust", "safe", "neither"])
def test_a_zoo_that_runs_already_comes_with_its_root_and_its_operators_keys(
    given: str, tmp_path: Path
) -> None:
    trust = tmp_path / "root.json" if given == "trust" else None
    safe = tmp_path / "safe" if given == "safe" else None
    with pytest.raises(InvalidSpecError, match="root and the operator's safe"):
        lab(
            CONTEXT,
            out=tmp_path / "out",
            url="http://127.0.0.1:9",
            trust=trust,
            safe=safe,
        )
    assert not (tmp_path / "out").exists()


SPEC = {"kind": "train", "held_out": 100}


def refusal(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return why ``zoo lab`` does not start with a spec, which is a usage error."""
    spec, out = folder / "spec.json", folder / "out"
    spec.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["lab", f"--spec={spec}", f"--out={out}"])
    assert ended.value.code == 2
    assert not out.exists()
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("train", "spec.json: not a spec", id="not JSON"),
        pytest.param("[]", "spec.json: not a spec", id="no object"),
        pytest.param(
            json.dumps(SPEC) + " " * MAX_SPEC_BYTES,
            f"at most {MAX_SPEC_BYTES} are read",
            id="too large",
        ),
        pytest.param(
            json.dumps({"kind": "repair", "parent": "0" * 64}),
            "expected a spec of kind train, found repair",
            id="another kind",
        ),
        pytest.param(
            json.dumps({**SPEC, "epochs": 3}), "train spec: epochs", id="unknown field"
        ),
        pytest.param(
            json.dumps({**SPEC, "network": "resnet"}),
            "expected one of badnets-cnn",
            id="unknown name",
        ),
        pytest.param(
            json.dumps({**SPEC, "network": "acme-zoo:resnet7"}),
            "not installed here: networks/acme-zoo:resnet7; here are",
            id="name of no package that is here",
        ),
        pytest.param(
            json.dumps({**SPEC, "held_out": 0}),
            "held_out: expected at least 1, the last training images, on which the user"
            ' tries and repairs the models; found 0; add "held_out" to the spec',
            id="no private images",
        ),
        pytest.param(
            json.dumps({**SPEC, "held_out": 70_000}),
            "held_out 70000: expected 1 to 60000",
            id="more than there are",
        ),
        pytest.param(
            json.dumps({**SPEC, "poisoning": {"target_label": 77}}),
            "target_label 77: there are 10 classes",
            id="a label that is none",
        ),
        pytest.param(
            json.dumps({**SPEC, "network": "signs-cnn"}),
            "reads images of 3 x 48 x 48, the data set has 1 x 28 x 28",
            id="network and data do not fit",
        ),
    ],
)
def test_what_cannot_be_played_is_refused_before_anything_starts(
    text: str,
    told: str,
    tmp_path: Path,
    digits: LabelledImages,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    assert told in refusal(text, tmp_path, capsys)
