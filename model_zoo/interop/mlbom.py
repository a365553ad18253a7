"""CycloneDX ML-BOMs: a release as a bill of materials, for tools that read those.

The bill is made from signed statements and is not signed itself; its serial number
and a property name the statement, so that two bills of one release are equal.

ADR 19 and ADR 36.

Source:
    CycloneDX 1.6 (ECMA-424), JSON; modelCard and pedigree of a component.
"""

import uuid

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.statements.intoto import Provenance, ReleaseStatement
from model_zoo.statements.manifest import FileEntry

SPEC_VERSION = "1.6"
MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"
LIMITATION = (
    "The signatures say who made these files and what they are, not how the model "
    "behaves: a backdoored model is signed like any other."
)
_PROPERTY = "verified-model-zoo"
_APPROACH = "supervised"
"""What every kind of job that makes weights does with its labelled data set."""


def ml_bom(
    statement: ReleaseStatement,
    *,
    statement_sha256: str,
    provenance: Provenance | None,
) -> bytes:
    """Return the bill of a release: canonical JSON, equal for equal statements.

    Data sets and parents are those that the builder signed for. Without provenance
    nothing is said of either, and the bill says that it knows nothing of them.

    Args:
        statement: the opened release statement.
        statement_sha256: of the statement's payload.
        provenance: the opened provenance, or None.
    """
    inputs = {} if provenance is None else provenance.inputs
    parents = {name: inputs[name] for name in inputs if _is_parent(name)}
    datasets = {name: inputs[name] for name in inputs if name not in parents}
    facts = {
        "statement-sha256": statement_sha256,
        **({} if provenance is None else _provenance_facts(provenance)),
    }
    model = _model(statement, provenance=provenance, parents=parents)
    model["modelCard"] = _model_card(provenance, datasets=datasets)
    model["properties"] = _properties(facts)
    reference = model["bom-ref"]
    data = [_dataset(*item) for item in sorted(datasets.items())]
    data_references = [component["bom-ref"] for component in data]
    return canonical_json(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": SPEC_VERSION,
            "serialNumber": _serial_number(statement_sha256),
            "version": 1,
            "metadata": {"component": model},
            "components": data,
            "dependencies": [{"ref": reference, "dependsOn": data_references}],
            "compositions": [
                {"aggregate": "complete", "assemblies": [reference]},
                {"aggregate": "unknown", "dependencies": [reference]},
            ],
        }
    )


def _model(
    statement: ReleaseStatement,
    *,
    provenance: Provenance | None,
    parents: dict[str, str],
) -> JsonObject:
    name, manifest = statement.release, statement.manifest
    model: JsonObject = {
        "type": "machine-learning-model",
        "bom-ref": str(name),
        "group": name.publisher,
        "publisher": name.publisher,
        "name": name.model,
        "version": name.version,
        "components": [_file(file) for file in manifest.files],
    }
    weights = manifest.weights()
    if len(weights) == 1:
        model["hashes"] = _hashes(weights[0].sha256)
    if provenance is not None:
        model["pedigree"] = {
            "ancestors": [_parent(*item) for item in sorted(parents.items())],
            "notes": f"as built by the builder with key {provenance.builder}",
        }
    return model


def _model_card(
    provenance: Provenance | None, *, datasets: dict[str, str]
) -> JsonObject:
    card: JsonObject = {"considerations": {"technicalLimitations": [LIMITATION]}}
    if provenance is not None and "network" in provenance.spec:
        card["modelParameters"] = {
            "approach": {"type": _APPROACH},
            "modelArchitecture": str(provenance.spec["network"]),
            "datasets": [{"ref": _data_ref(name)} for name in sorted(datasets)],
        }
    return card


def _provenance_facts(provenance: Provenance) -> dict[str, str]:
    facts = {
        f"environment:{name}": str(value)
        for name, value in provenance.environment.items()
    }
    if "seed" in provenance.spec:
        facts["seed"] = str(provenance.spec["seed"])
    return {
        "builder-keyid": provenance.builder,
        "job-kind": provenance.kind,
        "spec-sha256": sha256_bytes(canonical_json(provenance.spec)),
        "invocation": provenance.invocation,
        "started-at": provenance.started_at,
        "finished-at": provenance.finished_at,
        **facts,
    }


def _serial_number(statement_sha256: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{statement_sha256}").urn


def _is_parent(name: str) -> bool:
    return name == "parent" or name.startswith("parent:")


def _data_ref(name: str) -> str:
    return f"data:{name}"


def _hashes(sha256: str) -> list[JsonObject]:
    return [{"alg": "SHA-256", "content": sha256}]


def _file(file: FileEntry) -> JsonObject:
    return {
        "type": "file",
        "name": file.name,
        "hashes": _hashes(file.sha256),
        "properties": _properties({"size-bytes": str(file.size_bytes)}),
    }


def _dataset(name: str, sha256: str) -> JsonObject:
    return {
        "type": "data",
        "bom-ref": _data_ref(name),
        "name": name,
        "hashes": _hashes(sha256),
        "data": [{"type": "dataset", "name": name}],
    }


def _parent(name: str, sha256: str) -> JsonObject:
    return {
        "type": "machine-learning-model",
        "name": name,
        "hashes": _hashes(sha256),
    }


def _properties(facts: dict[str, str]) -> list[JsonObject]:
    return [
        {"name": f"{_PROPERTY}:{name}", "value": value}
        for name, value in sorted(facts.items())
    ]
