"""Path tricks in every parameter of every route: nothing outside is ever named."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.zoo import Zoo, open_zoo

TRICKS = (
    "%2e%2e",
    "..%2f..%2fzoo.db",
    "%2fetc%2fpasswd",
    "..%5c..%5czoo.db",
    "x%00.json",
    "x%0d%0aSet-Cookie:a",
    "%ff",
    "e%CC%81",
    "CON",
    "a" * 300,
    "-",
    "'%20OR%201=1--",
    "%25",
)
ID = "0" * 32
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | FINITE | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "trainer", "spec", "files", "name", "upload", "envelope"]
            )
            | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    folder: Path = tmp_path_factory.mktemp("zoo")
    with open_zoo(folder) as opened:
        opened.bind()
        (folder / "secret.json").write_text('{"secret": true}')
        yield opened


def routes(zoo: Zoo) -> list[tuple[str, str]]:
    """Return method and path of every route, as the API describes itself."""
    return [
        (method.upper(), path)
        for path, methods in zoo.app.openapi()["paths"].items()
        for method in methods
        if "{" in path
    ]


def refused(response: httpx.Response) -> None:
    assert response.status_code in {400, 404, 405, 415, 422}, response.text
    assert b"secret" not in response.content
    if response.request.method != "HEAD":
        assert response.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("trick", TRICKS)
def test_no_parameter_of_any_route_leads_outside(zoo: Zoo, trick: str) -> None:
    asked = 0
    for method, path in routes(zoo):
        for place in [part for part in path.split("/") if part.startswith("{")]:
            tricked = "/".join(
                trick if part == place else ID if part.startswith("{") else part
                for part in path.split("/")
            )
            body: dict[str, object] = {"json": {}} if method in {"POST", "PUT"} else {}
            refused(zoo.ask(method, tricked, **body))
            asked += 1
    assert asked > 30


@settings(max_examples=60)
@given(path=st.text(max_size=80), query=st.text(max_size=40))
def test_any_path_is_answered_and_never_with_a_failure(
    zoo: Zoo, path: str, query: str
) -> None:
    target = f"/api/v1/{quote(path, errors='replace')}?{quote(query, errors='replace')}"
    assert zoo.ask("GET", target).status_code < 500


@settings(max_examples=60)
@given(body=JSON_VALUES)
def test_any_body_is_answered_and_never_with_a_failure(zoo: Zoo, body: object) -> None:
    for method, path in (
        ("POST", "/jobs"),
        ("POST", "/uploads"),
        ("PUT", "/publishers/bob"),
        ("PUT", "/models/alice/digits/releases/1"),
        ("POST", "/trainers/lab/leases"),
        ("POST", f"/attempts/{ID}/events"),
        ("POST", f"/attempts/{ID}/complete"),
    ):
        response = zoo.ask(method, path, json=body)
        assert 400 <= response.status_code < 500, response.text
        assert response.headers["content-type"] == "application/problem+json"
