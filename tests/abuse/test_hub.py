"""Tricks on the routes of other hubs, whose paths begin with any name at all."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.hub import ask
from tests.service.zoo import JSON, Zoo, open_zoo, weights

FILES = {"model.safetensors": weights(), "config.json": JSON}
LONG = "a" * 5000
TRICKS = [
    pytest.param("%2e%2e%2f%2e%2e%2fsecret.json", id="encoded dots"),
    pytest.param("../../secret.json", id="dots"),
    pytest.param("..%5c..%5csecret.json", id="backslashes"),
    pytest.param("%2fetc%2fpasswd", id="absolute"),
    pytest.param("%00", id="NUL"),
    pytest.param("x%0d%0aX-Error-Code:GatedRepo", id="a header of its own"),
    pytest.param("%ff%fe", id="no UTF-8"),
    pytest.param("%E2%80%AEnosj.gifnoc", id="right to left"),
    pytest.param("%F0%9F%92%A9", id="beyond Latin-1"),
    pytest.param("config%E2%80%8B.json", id="zero width"),
    pytest.param("CONFIG.JSON", id="other case"),
    pytest.param("config.json%20", id="a space"),
    pytest.param("config.json/", id="a slash"),
    pytest.param("", id="nothing"),
    pytest.param(LONG, id="a huge name"),
    pytest.param("/".join("a" * 2000), id="a deep path"),
    pytest.param("0" * 64, id="a whole digest"),
    pytest.param("A" * 40, id="a commit in capitals"),
    pytest.param("%EF%BC%91" * 40, id="full-width digits"),
    pytest.param("main%00", id="main and NUL"),
    pytest.param("HEAD", id="HEAD"),
    pytest.param("refs%2Fheads%2Fmain", id="a reference"),
    pytest.param("-", id="a dash"),
]
ROUTES = [
    "/{trick}/digits/resolve/1/config.json",
    "/alice/{trick}/resolve/1/config.json",
    "/alice/digits/resolve/{trick}/config.json",
    "/alice/digits/resolve/1/{trick}",
    "/{trick}/resolve/1/config.json",
    "/api/models/{trick}/digits",
    "/api/models/alice/{trick}",
    "/api/models/alice/digits/revision/{trick}",
    "/api/models/alice/digits/tree/{trick}",
    "/hub/{trick}/digits/1/weights-{digest}.safetensors",
    "/hub/alice/digits/{trick}/weights-{digest}.safetensors",
    "/hub/alice/digits/1/weights-{trick}.safetensors",
    "/hub/alice/digits/1/{trick}",
    "/api/v1/models/alice/{trick}/releases/1/model.sig",
    "/api/v1/models/alice/digits/releases/{trick}/mlbom.json",
]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    folder: Path = tmp_path_factory.mktemp("zoo")
    with open_zoo(folder) as opened:
        opened.bind()
        opened.published("alice/digits@1", FILES)
        (folder / "secret.json").write_text('{"secret": true}')
        (folder / "blobs" / "secret.json").write_text('{"secret": true}')
        yield opened


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_leads_outside_or_makes_the_service_fail(trick: str, zoo: Zoo) -> None:
    for route in ROUTES:
        path = route.replace("{trick}", trick).replace("{digest}", "0" * 64)
        response = ask(zoo, path)
        assert response.status_code in {400, 404, 405}, path
        assert b"secret" not in response.content.replace(b"secret.json", b"")
        code = response.headers.get("x-error-code", "NotFound")
        assert code in {"RepoNotFound", "RevisionNotFound", "EntryNotFound", "NotFound"}
        told = response.headers.get("x-error-message", "")
        assert told.isascii()
        assert len(told) < 1000


@settings(max_examples=60)
@given(path=st.text(max_size=60), revision=st.text(max_size=20))
def test_any_revision_and_file_are_answered(zoo: Zoo, path: str, revision: str) -> None:
    asked = f"{quote(revision, errors='replace')}/{quote(path, errors='replace')}"
    for place in ("/alice/digits/resolve/", "/api/models/alice/digits/tree/"):
        assert ask(zoo, place + asked).status_code < 500
