import shutil

from tests.service.zoo import Zoo


def test_a_service_that_works_says_so(zoo: Zoo) -> None:
    assert zoo.get("/healthz").json() == {"status": "ok"}
    ready = zoo.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {"database": True, "storage": True},
    )


def test_a_service_without_its_storage_is_alive_but_not_ready(zoo: Zoo) -> None:
    shutil.rmtree(zoo.app.state.parts.blobs.root)

    ready = zoo.get("/readyz")

    assert zoo.get("/healthz").status_code == 200
    assert (ready.status_code, ready.json()) == (
        503,
        {"database": True, "storage": False},
    )


def test_the_api_describes_itself(zoo: Zoo) -> None:
    described = zoo.get("/openapi.json").json()

    assert described["openapi"].startswith("3.1")
    path = "/api/v1/models/{publisher}/{model}/releases/{version}"
    assert set(described["paths"][path]["put"]["responses"]) == {"201", "default"}
    assert "HTTPValidationError" not in described["components"]["schemas"]
