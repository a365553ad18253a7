"""Stock torch.hub against a zoo on a socket."""

from pathlib import Path
from typing import Any

import pytest
import torch

from model_zoo.digests import sha256_bytes
from tests.interop import peers
from tests.interop.serving import FILES, Served, mirroring
from tests.service.zoo import weights

FIRST_WITH_SAFETENSORS = (2, 13)
"""torch.load opens safetensors from 2.13 on; 2.12 has no word of them."""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        tuple(map(int, torch.__version__.split(".")[:2])) < FIRST_WITH_SAFETENSORS,
        reason="this torch loads no safetensors through torch.hub",
    ),
]
SHA256 = sha256_bytes(FILES["model.safetensors"])
PATH = f"/hub/alice/digits/1/weights-{SHA256}.safetensors"


def answer(url: str, home: Path) -> dict[str, Any]:
    said = peers.ask(
        peers.own(), "load_from_torch_hub", url, TORCH_HOME=str(home / "torch")
    )
    return dict(said)


def test_it_loads_weights_by_their_full_digest(served: Served, tmp_path: Path) -> None:
    assert answer(served.url + PATH, tmp_path) == {"tensors": {"w": [7] * 64}}


def test_it_refuses_changed_bytes(served: Served, tmp_path: Path) -> None:
    with mirroring(served.url) as mirror:
        said = answer(mirror + PATH, tmp_path)
    assert said["error"] == "RuntimeError"
    assert "invalid hash value" in said["message"]
    assert list((tmp_path / "torch").rglob("*.safetensors")) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param(PATH.replace(SHA256, "0" * 64), 404, id="digest of nothing"),
        pytest.param(PATH.replace("digits", "two"), 404, id="digest of another model"),
        pytest.param(
            f"/hub/alice/gone/1/weights-{sha256_bytes(weights(9))}.safetensors",
            410,
            id="withdrawn",
        ),
    ],
)
def test_it_gets_nothing_else(
    path: str, status: int, served: Served, tmp_path: Path
) -> None:
    said = answer(served.url + path, tmp_path)
    assert said["error"] == "HTTPError"
    assert str(status) in said["message"]


def test_it_never_looks_again_at_what_it_has(served: Served, tmp_path: Path) -> None:
    """What our documents say of it; the day it fails, they are out of date."""
    answer(served.url + PATH, tmp_path)
    (cached,) = (tmp_path / "torch").rglob("*.safetensors")
    cached.write_bytes(weights(8))
    assert answer(served.url + PATH, tmp_path) == {"tensors": {"w": [8] * 64}}
