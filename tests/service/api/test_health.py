import re
import shutil

from tests.service.zoo import Zoo

NOT_YET = {"failures": 0, "succeeded_at": None, "error": None}
STATE = {
    "database": True,
    "fresh": True,
    "expiring": [],
    "loops": dict.fromkeys(("reap", "renew", "warn"), NOT_YET),
}


def test_a_service_that_works_says_so(zoo: Zoo) -> None:
    assert zoo.get("/healthz").json() == {"status": "ok"}
    ready = zoo.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        STATE | {"storage": True},
    )


def test_it_warns_before_clients_refuse_and_is_not_ready_once_they_do(
    zoo: Zoo,
) -> None:
    zoo.clock.advance(seconds=19 * 3600)
    warned = zoo.get("/readyz")
    assert (warned.status_code, warned.json()["fresh"]) == (200, True)
    (line,) = warned.json()["expiring"]
    assert line.startswith("timestamp expires at ")
    zoo.clock.advance(seconds=6 * 3600)
    assert zoo.get("/readyz").status_code == 503
    assert zoo.get("/readyz").json()["fresh"] is False


def test_a_year_later_everything_that_needs_a_signature_is_named(zoo: Zoo) -> None:
    zoo.clock.advance(seconds=350 * 24 * 3600)
    named = {line.split()[0] for line in zoo.get("/readyz").json()["expiring"]}
    assert named == {"timestamp", "snapshot", "targets", "root", "zoo~yanked"}


def test_a_service_without_its_storage_is_alive_but_not_ready(zoo: Zoo) -> None:
    shutil.rmtree(zoo.app.state.context.blobs.root)

    ready = zoo.get("/readyz")

    assert zoo.get("/healthz").status_code == 200
    assert (ready.status_code, ready.json()) == (
        503,
        STATE | {"storage": False},
    )


def test_the_api_describes_itself(zoo: Zoo) -> None:
    described = zoo.get("/openapi.json").json()

    assert described["openapi"].startswith("3.1")
    path = "/api/v1/models/{publisher}/{model}/releases/{version}"
    assert set(described["paths"][path]["put"]["responses"]) == {"201", "default"}
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_its_patterns_are_those_of_json_schema(zoo: Zoo) -> None:
    described = zoo.get("/openapi.json").text
    patterns = set(re.findall(r'"pattern":"((?:[^"\\]|\\.)*)"', described))
    assert len(patterns) >= 3
    for pattern in patterns:
        # ECMA-262, which JSON Schema names, has no \A, no \z and no (?P<name>)
        assert re.search(r"\\\\[AzZ]|\(\?P", pattern) is None, pattern
        assert pattern.startswith("^"), pattern
        assert pattern.endswith("$"), pattern
