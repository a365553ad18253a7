"""Three generations of stock huggingface_hub against a zoo on a socket."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop import peers
from tests.interop.serving import FILES, Served, mirroring
from tests.service.zoo import weights

pytestmark = [
    pytest.mark.interop,
    pytest.mark.parametrize("version", peers.HUGGINGFACE_HUB),
]
CONTENTS = {name: data.hex() for name, data in FILES.items()}


def answers(
    version: str, home: Path, url: str, *calls: list[str | None]
) -> list[dict[str, Any]]:
    """Return what each call gave: ``[function, *arguments, revision]``."""
    task = {"url": url, "home": str(home), "calls": calls}
    python = peers.huggingface_hub(version)
    said = peers.ask(python, "download_from_hub", json.dumps(task))
    assert said["version"] == version
    return list(said["answers"])


def test_it_downloads_the_right_bytes_by_version_and_by_commit(
    version: str, served: Served, tmp_path: Path
) -> None:
    commit = served.get("/api/models/alice/digits").json()["sha"]
    one, only, whole, pinned, two = answers(
        version,
        tmp_path,
        served.url,
        ["hf_hub_download", "alice/digits", "config.json", "1"],
        ["hf_hub_download", "alice/digits", "config.json", None],
        ["snapshot_download", "alice/digits", "1"],
        ["snapshot_download", "alice/digits", commit],
        ["snapshot_download", "alice/two", "2"],
    )
    assert one == only == {"files": {"config.json": CONTENTS["config.json"]}}
    assert whole == pinned == {"files": CONTENTS}
    assert two == {"files": {"model.safetensors": weights(2).hex()}}


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        pytest.param(
            ["hf_hub_download", "alice/letters", "config.json", "1"],
            "RepositoryNotFoundError",
            "",
            id="model",
        ),
        pytest.param(
            ["hf_hub_download", "digits", "config.json", "1"],
            "RepositoryNotFoundError",
            "",
            id="no publisher",
        ),
        pytest.param(
            ["snapshot_download", "alice/digits", "2"],
            "RevisionNotFoundError",
            "no revision '2'",
            id="revision",
        ),
        pytest.param(
            ["snapshot_download", "alice/two", None],
            "RevisionNotFoundError",
            "several releases: name one",
            id="latest",
        ),
        pytest.param(
            ["hf_hub_download", "alice/digits", "vocabulary.json", "1"],
            "EntryNotFoundError",
            "no file 'vocabulary.json'",
            id="file",
        ),
        pytest.param(
            ["hf_hub_download", "alice/digits", "onnx/model.json", "1"],
            "EntryNotFoundError",
            "no file 'onnx/model.json'",
            id="file in a folder",
        ),
    ],
)
def test_what_is_missing_is_an_error_of_its_own_type(
    call: list[str | None],
    error: str,
    told: str,
    version: str,
    served: Served,
    tmp_path: Path,
) -> None:
    (answer,) = answers(version, tmp_path, served.url, call)
    assert error in answer["error"]
    assert told in answer["message"]


def test_a_withdrawn_release_is_refused(
    version: str, served: Served, tmp_path: Path
) -> None:
    call = ["hf_hub_download", "alice/gone", "model.safetensors", "1"]
    (answer,) = answers(version, tmp_path, served.url, [*call])
    assert "files" not in answer


def test_it_takes_changed_bytes_of_the_right_length_and_says_nothing(
    version: str, served: Served, tmp_path: Path
) -> None:
    """What our documents say of it; the day it fails, they are out of date."""
    call = ["hf_hub_download", "alice/digits", "model.safetensors", "1"]
    with mirroring(served.url) as mirror:
        (answer,) = answers(version, tmp_path, mirror, [*call])
    (taken,) = answer["files"].values()
    assert taken != CONTENTS["model.safetensors"]
    assert len(taken) == len(CONTENTS["model.safetensors"])
