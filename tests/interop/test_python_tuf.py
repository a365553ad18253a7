"""Stock python-tuf, which knows nothing of us, against a zoo on a socket."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop import peers
from tests.interop.serving import FILES, Served, mirroring

pytestmark = pytest.mark.interop


@pytest.fixture
def root(served: Served, tmp_path: Path) -> Path:
    """The pinned root: a user gets it from the operator, not from the service."""
    path = tmp_path / "root.json"
    path.write_bytes(served.root)
    return path


def updated(url: str, root: Path, *targets: str) -> list[dict[str, Any]]:
    folder = root.parent / "updater"
    task = {"url": url, "root": str(root), "folder": str(folder), "targets": targets}
    python = peers.python_tuf()
    return list(peers.ask(python, "update_with_tuf", json.dumps(task)))


def test_it_walks_from_the_root_to_the_weights_and_statements_of_a_release(
    served: Served, root: Path
) -> None:
    paths = [f"alice/digits/1/{name}" for name in ("model.safetensors", "release.json")]
    weights, bundle = updated(served.url, root, *paths)
    assert weights == {"bytes": FILES["model.safetensors"].hex()}
    document = json.loads(bytes.fromhex(bundle["bytes"]))
    assert document.keys() == {"envelope", "provenance"}


def test_it_brings_the_key_that_model_signing_needs(served: Served, root: Path) -> None:
    (answer,) = updated(served.url, root, "zoo/trusted-keys.json")
    keys = json.loads(bytes.fromhex(answer["bytes"]))
    assert keys["oms"] == [served.oms_key.public_pem()]


def test_it_finds_no_release_that_nobody_published_and_none_that_was_withdrawn(
    served: Served, root: Path
) -> None:
    missing = ("alice/digits/2/model.safetensors", "bob/digits/1/config.json")
    gone = "alice/gone/1/model.safetensors"
    assert updated(served.url, root, *missing, gone) == [{"bytes": None}] * 3


def test_it_refuses_changed_bytes(served: Served, root: Path) -> None:
    with mirroring(served.url) as mirror:
        (answer,) = updated(mirror, root, "alice/digits/1/model.safetensors")
    assert "bytes" not in answer


def test_it_refuses_a_repository_of_another_root(served: Served, root: Path) -> None:
    document = json.loads(root.read_bytes())
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    root.write_text(json.dumps(document))
    with pytest.raises(AssertionError, match="root"):
        updated(served.url, root, "alice/digits/1/config.json")
