import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.intoto import open_release
from tests.service.hub import ask, withdraw
from tests.service.zoo import (
    ALICE,
    JSON,
    Zoo,
    after,
    assert_problem,
    weights,
)

FILES = {"model.safetensors": weights(7), "config.json": JSON}
RELEASE = "/api/v1/models/alice/digits/releases/1"


@pytest.fixture(scope="module")
def bound_folder(bound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where alice has published one release; each test's service begins with a copy."""
    to = tmp_path_factory.mktemp("published") / "zoo"
    return after(
        lambda zoo: zoo.published("alice/digits@1", FILES), bound_folder, to=to
    )


def resources(bundle: dict[str, Any]) -> dict[str, str]:
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return {r["name"]: r["digest"] for r in payload["predicate"]["resources"]}


def test_the_bundle_is_of_the_releases_files_and_by_the_services_key(zoo: Zoo) -> None:
    response = ask(zoo, f"{RELEASE}/model.sig")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    bundle = response.json()
    assert resources(bundle) == {
        name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()
    }
    pem = zoo.app.state.context.keys.oms_key.public_pem()
    hint = bundle["verificationMaterial"]["publicKey"]["hint"]
    assert hint == hashlib.sha256(pem.encode()).hexdigest()
    assert ask(zoo, f"{RELEASE}/model.sig").content == response.content


def test_the_bill_names_the_statement_it_was_made_from(zoo: Zoo) -> None:
    response = ask(zoo, f"{RELEASE}/mlbom.json")
    kind = response.headers["content-type"]
    assert kind == "application/vnd.cyclonedx+json; version=1.6"
    envelope = Envelope.from_object(ask(zoo, RELEASE).json()["envelope"])
    open_release(envelope, Role("publisher", (ALICE.public,)))
    sha256 = hashlib.sha256(envelope.unverified_payload).hexdigest()
    facts = response.json()["metadata"]["component"]["properties"]
    told = {item["name"]: item["value"] for item in facts}
    assert told["verified-model-zoo:statement-sha256"] == sha256
    assert ask(zoo, f"{RELEASE}/mlbom.json").content == response.content


def test_a_withdrawn_release_gets_no_signature_but_its_bill_stays(zoo: Zoo) -> None:
    withdraw(zoo, "alice", "digits", "1")
    problem = assert_problem(ask(zoo, f"{RELEASE}/model.sig"), 410, "YankedError")
    assert "a backdoor was found" in problem["detail"]
    assert ask(zoo, f"{RELEASE}/mlbom.json").status_code == 200


@pytest.mark.parametrize("file", ["model.sig", "mlbom.json"])
def test_what_was_not_published_has_no_attachments(zoo: Zoo, file: str) -> None:
    missing = RELEASE.replace("digits", "letters")
    assert_problem(ask(zoo, f"{missing}/{file}"), 404, "NotFoundError")
