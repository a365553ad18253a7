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
"""torch.load opens safetensors from 2.13.0 on; 2.12.1 takes them for pickles."""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        tuple(map(int, torch.__version__.split(".")[:2])) < FIRST_WITH_SAFETENSORS,
        reason="this torch loads no safetensors through torch.hub",
    ),
]
SHA256 = sha256_bytes(FILES["model.safetensors"])
PATH = f"/hub/alice/digits/1/weights-{SHA256}.safetensors"


def loaded(home: Path, *urls: str) -> list[dict[str, Any]]:
    """Return what each URL gave: tensors, or the type of error."""
    python, cache = peers.own(), str(home / "torch")
    return list(peers.ask(python, "load_from_torch_hub", *urls, TORCH_HOME=cache))


def test_it_loads_weights_by_their_full_digest_and_nothing_else(
    served: Served, tmp_path: Path
) -> None:
    gone = PATH.replace("digits", "gone").replace(SHA256, sha256_bytes(weights(9)))
    others = (PATH.replace(SHA256, "0" * 64), PATH.replace("digits", "two"), gone)
    # The right one last: torch.hub asks nobody for a file name that it has.
    urls = [served.url + path for path in (*others, PATH)]
    *wrong, right = loaded(tmp_path, *urls)
    assert right == {"tensors": {"w": [7] * 64}}
    assert [answer["error"] for answer in wrong] == ["HTTPError"] * 3
    told = [answer["message"] for answer in wrong]
    assert [text.split()[2] for text in told] == ["404:", "404:", "410:"]


def test_it_refuses_changed_bytes_and_keeps_none(
    served: Served, tmp_path: Path
) -> None:
    with mirroring(served.url) as mirror:
        (answer,) = loaded(tmp_path, mirror + PATH)
    assert answer["error"] == "RuntimeError"
    assert "invalid hash value" in answer["message"]
    assert list((tmp_path / "torch").rglob("*.safetensors")) == []


def test_it_never_looks_again_at_what_it_has(served: Served, tmp_path: Path) -> None:
    """What our documents say of it; the day it fails, they are out of date."""
    cached = tmp_path / "torch" / "hub" / "checkpoints" / PATH.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(weights(8))
    assert loaded(tmp_path, served.url + PATH) == [{"tensors": {"w": [8] * 64}}]
