import sqlite3

import pytest
from sqlalchemy import event

from model_zoo import errors as tree
from model_zoo.errors import ZooError
from service.http.errors import STATUS, code_of, status_of
from service.storage.blobs import StorageFullError
from tests.service.zoo import Zoo, assert_problem


def every_error(kind: type[ZooError] = ZooError) -> list[type[ZooError]]:
    return [
        kind,
        *(sub for child in kind.__subclasses__() for sub in every_error(child)),
    ]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_a_code_that_clients_know(
    kind: type[ZooError],
) -> None:
    error = kind.__new__(kind)

    assert status_of(error) >= 400
    assert hasattr(tree, code_of(error))


def test_a_full_disk_is_a_local_error_with_its_own_status() -> None:
    error = StorageFullError("full")
    assert (status_of(error), code_of(error)) == (507, "LocalError")
    assert STATUS[tree.LocalError] == 500


@pytest.mark.parametrize("path", ["/nothing", "/api/v1", "/api/v1/models/", "/"])
def test_a_path_that_is_no_route_is_a_problem(zoo: Zoo, path: str) -> None:
    problem = assert_problem(zoo.get(f"/api/v1/..{path}"), 404, "NotFoundError")
    assert "instance" in problem


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/models", "GET"),
        ("PUT", "/jobs", "POST"),
        ("PATCH", "/uploads", "POST"),
    ],
)
def test_a_method_that_is_not_served_is_a_problem(
    zoo: Zoo, method: str, path: str, allowed: str
) -> None:
    response = zoo.ask(method, path)
    assert_problem(response, 405, "InvalidSpecError")
    assert allowed in response.headers["allow"]


def test_a_body_that_makes_no_sense_names_every_field_and_repeats_none(
    zoo: Zoo,
) -> None:
    secret = "hunter2-hunter2"  # noqa: S105  what must not come back
    body = {"kind": 7, "trainer": ["lab"], "specs": {}, "password": secret}

    response = zoo.post("/jobs", body)

    problem = assert_problem(response, 400, "InvalidSpecError")
    fields = {error["field"] for error in problem["errors"]}
    assert fields == {
        "body.kind",
        "body.trainer",
        "body.spec",
        "body.specs",
        "body.password",
    }
    assert secret not in response.text


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (
            "/jobs",
            {"kind": "train", "trainer": "lab", "spec": {"network": "a:b:c"}},
            "network: expected one of",
        ),
        (
            "/uploads",
            {"files": [{"name": "../x", "size_bytes": 1, "sha256": ""}]},
            "name: file name '../x': expected",
        ),
    ],
)
def test_what_was_expected_is_told_in_words_of_ours(
    zoo: Zoo, path: str, body: object, told: str
) -> None:
    problem = assert_problem(zoo.post(path, body), 400, "InvalidSpecError")
    assert told in problem["detail"]
    assert "Value error" not in str(problem)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_a_problem(zoo: Zoo, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = zoo.ask("POST", "/jobs", content=body, headers=headers)
    assert_problem(response, 400, "InvalidSpecError")


def test_an_unexpected_failure_tells_nothing_of_the_inside(zoo: Zoo) -> None:
    def explode() -> None:
        msg = "the secret inside"
        raise RuntimeError(msg)

    zoo.app.add_api_route("/api/v1/explode", explode)

    response = zoo.get("/explode")

    problem = assert_problem(response, 500, "LocalError")
    assert problem["detail"] == "the service failed; its log says why"
    assert "secret" not in response.text


def test_a_database_that_is_full_is_a_full_disk(zoo: Zoo) -> None:
    engine = zoo.app.state.context.database.engine

    @event.listens_for(engine, "connect")
    def _no_more_pages(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    engine.dispose()
    response = None
    for _ in range(200):
        body = {"kind": "noop", "trainer": "lab", "spec": {"note": "x" * 200}}
        response = zoo.post("/jobs", body)
        if response.status_code != 202:
            break
    assert response is not None
    problem = assert_problem(response, 507, "LocalError")
    assert "full" in problem["detail"]


def test_a_database_that_is_busy_asks_to_be_tried_again(zoo: Zoo) -> None:
    engine = zoo.app.state.context.database.engine

    @event.listens_for(engine, "connect")
    def _impatient(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout = 1")

    engine.dispose()
    path = zoo.app.state.context.settings.data_dir / "zoo.db"
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        body = {"kind": "noop", "trainer": "lab", "spec": {}}
        response = zoo.post("/jobs", body)
        other.execute("ROLLBACK")
    other.close()

    assert_problem(response, 503, "TransportError")
    assert response.headers["retry-after"] == "1"
    assert zoo.post("/jobs", body).status_code == 202


def test_no_cache_keeps_a_refusal(zoo: Zoo) -> None:
    """The next root is asked for at every refresh, and mostly is not there yet."""
    missing = zoo.get("/tuf/metadata/2.root.json")
    assert missing.status_code == 404
    assert missing.headers["cache-control"] == "no-store"
