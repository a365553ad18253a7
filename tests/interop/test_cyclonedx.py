"""CycloneDX's own validator against the bills of a zoo."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop import peers
from tests.interop.serving import Served

pytestmark = pytest.mark.interop


def held_against(bill: dict[str, Any], folder: Path) -> str | None:
    """Return what the validator holds against ``bill``; None if nothing."""
    file = folder / "bom.json"
    file.write_text(json.dumps(bill), encoding="utf-8")
    error: str | None = peers.ask(peers.cyclonedx(), "validate_bom", str(file))["error"]
    return error


@pytest.mark.parametrize("release", ["digits", "trained"])
def test_our_bill_is_valid(release: str, served: Served, tmp_path: Path) -> None:
    bill = served.get(f"/api/v1/models/alice/{release}/releases/1/mlbom.json").json()
    assert held_against(bill, tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"specVersion": 1.6}, id="a number for a version"),
        pytest.param({"serialNumber": "urn:uuid:1"}, id="no UUID"),
        pytest.param({"models": []}, id="an unknown field"),
        pytest.param(
            {"components": [{"type": "ml-model", "name": "x"}]}, id="an unknown type"
        ),
    ],
)
def test_a_broken_bill_is_not(
    change: dict[str, Any], served: Served, tmp_path: Path
) -> None:
    bill = served.get("/api/v1/models/alice/digits/releases/1/mlbom.json").json()
    assert held_against(bill | change, tmp_path) is not None
