import json
from typing import Any

import pytest

from model_zoo.interop.mlbom import ml_bom
from model_zoo.names import ReleaseName
from model_zoo.statements.intoto import Provenance, ReleaseStatement
from model_zoo.statements.manifest import FileEntry, Manifest

NAME = ReleaseName("alice", "digits", "1")
WEIGHTS = FileEntry(name="model.safetensors", size_bytes=9, sha256="a" * 64)
CONFIG = FileEntry(name="config.json", size_bytes=2, sha256="b" * 64)
STATEMENT = ReleaseStatement(NAME, Manifest(files=(WEIGHTS, CONFIG)))
FINE_TUNED = Provenance(
    subjects={"model.safetensors": "a" * 64},
    kind="fine-tune",
    spec={"network": "badnets-cnn", "parent": "c" * 64, "seed": 7},
    inputs={"mnist": "d" * 64, "parent": "c" * 64},
    code="9" * 64,
    environment={"torch": "2.15.0", "threads": 1},
    builder="e" * 64,
    invocation="0" * 32,
    started_at="2026-11-22T13:00:00Z",
    finished_at="2026-11-22T13:00:01Z",
)


def bill(
    statement: ReleaseStatement = STATEMENT,
    *,
    digest: str = "f" * 64,
    provenance: Provenance | None = FINE_TUNED,
) -> dict[str, Any]:
    data = ml_bom(statement, statement_sha256=digest, provenance=provenance)
    return dict(json.loads(data))


def facts(component: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in component["properties"]}


def test_the_component_is_the_model_and_lists_every_file_with_its_digest() -> None:
    model = bill()["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert (model["group"], model["name"], model["version"]) == ("alice", "digits", "1")
    assert model["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    listed = {
        file["name"]: file["hashes"][0]["content"] for file in model["components"]
    }
    assert listed == {"model.safetensors": "a" * 64, "config.json": "b" * 64}


def test_data_sets_and_parents_are_those_that_the_builder_signed_for() -> None:
    made = bill()
    (dataset,) = made["components"]
    assert (dataset["type"], dataset["name"]) == ("data", "mnist")
    assert dataset["hashes"][0]["content"] == "d" * 64
    model = made["metadata"]["component"]
    card = model["modelCard"]["modelParameters"]
    assert card["datasets"] == [{"ref": dataset["bom-ref"]}]
    assert card["modelArchitecture"] == "badnets-cnn"
    (parent,) = model["pedigree"]["ancestors"]
    assert parent["hashes"][0]["content"] == "c" * 64
    told = facts(model)
    assert told["verified-model-zoo:builder-keyid"] == "e" * 64
    assert told["verified-model-zoo:seed"] == "7"
    assert told["verified-model-zoo:environment:threads"] == "1"


def test_without_provenance_nothing_is_said_of_parents_and_that_is_said() -> None:
    made = bill(provenance=None)
    assert "pedigree" not in made["metadata"]["component"]
    assert made["components"] == []
    assert {"aggregate": "unknown", "dependencies": [str(NAME)]} in made["compositions"]


def test_every_bill_says_that_a_signature_is_no_verdict_on_behaviour() -> None:
    for provenance in (FINE_TUNED, None):
        card = bill(provenance=provenance)["metadata"]["component"]["modelCard"]
        (limitation,) = card["considerations"]["technicalLimitations"]
        assert "not how the model behaves" in limitation


def test_a_bill_is_decided_by_the_statement_and_its_serial_number_by_its_digest() -> (
    None
):
    assert bill() == bill()
    assert bill(digest="0" * 64)["serialNumber"] != bill()["serialNumber"]
    assert bill()["serialNumber"].startswith("urn:uuid:")


@pytest.mark.parametrize("count", [0, 2])
def test_a_model_without_exactly_one_weights_file_has_no_digest_of_its_own(
    count: int,
) -> None:
    weights = [
        FileEntry(name=f"part-{n}.safetensors", size_bytes=9, sha256="a" * 64)
        for n in range(count)
    ]
    statement = ReleaseStatement(NAME, Manifest(files=(CONFIG, *weights)))
    assert "hashes" not in bill(statement)["metadata"]["component"]
