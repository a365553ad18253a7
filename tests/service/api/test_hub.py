import hashlib
from pathlib import Path

import httpx
import pytest

from model_zoo.statements.dsse import Envelope
from tests.service.hub import ask, withdraw
from tests.service.zoo import (
    JSON,
    Zoo,
    after,
    assert_problem,
    open_zoo,
    weights,
)

DATA = weights(count=256)
SHA256 = hashlib.sha256(DATA).hexdigest()
FILES = {"model.safetensors": DATA, "config.json": JSON}
RESOLVE = "/alice/digits/resolve"
INFO = "/api/models/alice/digits"
WEIGHTS = f"/hub/alice/digits/1/weights-{SHA256}.safetensors"
TOKEN = "t" * 32


@pytest.fixture(scope="module")
def bound_folder(bound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where alice has published one release; each test's service begins with a copy."""
    to = tmp_path_factory.mktemp("published") / "zoo"
    return after(
        lambda zoo: zoo.published("alice/digits@1", FILES), bound_folder, to=to
    )


def assert_refused(response: httpx.Response, code: str) -> None:
    assert_problem(response, 404, "NotFoundError")
    assert response.headers["x-error-code"] == code
    assert response.headers["x-error-message"] == response.json()["detail"]


def commit(zoo: Zoo, version: str = "1") -> str:
    release = zoo.get(f"/models/alice/digits/releases/{version}").json()
    payload = Envelope.from_object(release["envelope"]).unverified_payload
    return hashlib.sha256(payload).hexdigest()[:40]


def test_a_file_comes_by_version_by_commit_and_as_main(zoo: Zoo) -> None:
    for revision in ("1", commit(zoo), "main"):
        path = f"{RESOLVE}/{revision}/model.safetensors"
        got, head = ask(zoo, path), ask(zoo, path, method="HEAD")
        assert (got.status_code, got.content) == (200, DATA)
        assert (head.status_code, head.content) == (200, b"")
        for response in (got, head):
            assert response.headers["etag"] == f'"{SHA256}"'
            assert response.headers["content-length"] == str(len(DATA))
            assert response.headers["x-repo-commit"] == commit(zoo)
            assert "x-xet-hash" not in response.headers


def test_a_file_can_be_resumed_and_caches_must_ask_again(zoo: Zoo) -> None:
    path = f"{RESOLVE}/1/model.safetensors"
    part = ask(zoo, path, headers={"Range": "bytes=10-"})
    assert (part.status_code, part.content) == (206, DATA[10:])
    for asked in (path, WEIGHTS):
        assert ask(zoo, asked).headers["cache-control"] == "no-cache"
    unchanged = ask(zoo, path, headers={"If-None-Match": f'"{SHA256}"'})
    assert unchanged.status_code == 304


def test_main_is_nothing_once_there_is_a_second_release(zoo: Zoo) -> None:
    zoo.published("alice/digits@2", {"config.json": JSON})
    for path in (INFO, f"{INFO}/revision/main", f"{RESOLVE}/main/config.json"):
        response = ask(zoo, path)
        assert_refused(response, "RevisionNotFound")
        assert "name one" in response.json()["detail"]
    assert ask(zoo, f"{INFO}/revision/2").json()["sha"] == commit(zoo, "2")


def test_no_version_can_be_named_like_a_commit_or_like_main(zoo: Zoo) -> None:
    pinned = commit(zoo)
    for version in (pinned, "main"):
        zoo.published(f"alice/digits@{version}", {"config.json": JSON})
    answer = ask(zoo, f"{RESOLVE}/{pinned}/model.safetensors")
    assert answer.content == DATA
    assert_refused(ask(zoo, f"{RESOLVE}/main/config.json"), "RevisionNotFound")


def test_a_repository_lists_its_files_with_their_digests(zoo: Zoo) -> None:
    info = ask(zoo, f"{INFO}/revision/1").json()
    assert info == ask(zoo, INFO).json()
    assert (info["id"], info["sha"]) == ("alice/digits", commit(zoo))
    assert {"rfilename": "config.json"} in info["siblings"]
    path = f"{INFO}/tree/{commit(zoo)}?recursive=true&expand=false"
    listed = {item["path"]: item for item in ask(zoo, path).json()}
    assert listed.keys() == FILES.keys()
    shown = listed["model.safetensors"]
    assert (shown["type"], shown["size"]) == ("file", len(DATA))
    assert shown["lfs"] == {"oid": SHA256, "size": len(DATA), "pointerSize": 128}


def test_a_listed_file_has_the_object_name_that_git_gives_its_lfs_pointer(
    zoo: Zoo,
) -> None:
    # What `git hash-object --stdin` says of the pointer of JSON.
    (config, _) = ask(zoo, f"{INFO}/tree/1").json()
    assert config["oid"] == "506025c7898f25a07fd6a4b1d2974731a1eb4c6d"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/alice/letters/resolve/1/config.json", "RepoNotFound"),
        ("/nobody/digits/resolve/1/config.json", "RepoNotFound"),
        ("/Alice/digits/resolve/1/config.json", "RepoNotFound"),
        ("/digits/resolve/1/config.json", "RepoNotFound"),
        ("/api/models/alice/letters", "RepoNotFound"),
        ("/api/models/digits/revision/main", "RepoNotFound"),
        ("/api/models/alice/letters/tree/1", "RepoNotFound"),
        (f"{RESOLVE}/2/config.json", "RevisionNotFound"),
        (f"{RESOLVE}/{'0' * 40}/config.json", "RevisionNotFound"),
        (f"{RESOLVE}/refs%2Fpr%2F1/config.json", "RevisionNotFound"),
        (f"{INFO}/revision/refs%2Fpr%2F1", "RevisionNotFound"),
        (f"{INFO}/tree/latest", "RevisionNotFound"),
        (f"{RESOLVE}/1/vocabulary.json", "EntryNotFound"),
        (f"{RESOLVE}/1/onnx/model.json", "EntryNotFound"),
    ],
)
def test_what_is_missing_is_told_by_its_code(zoo: Zoo, path: str, code: str) -> None:
    response = ask(zoo, path)
    assert_refused(response, code)
    assert ("x-repo-commit" in response.headers) == (code == "EntryNotFound")


@pytest.mark.parametrize(
    "path", ["/api/agent-harnesses", "/api/datasets/a/b", "/api/spaces/a/b", "/alice"]
)
def test_what_we_do_not_have_at_all_is_a_plain_404(zoo: Zoo, path: str) -> None:
    assert_problem(ask(zoo, path), 404, "NotFoundError")


def test_weights_come_under_their_own_digest_only(zoo: Zoo) -> None:
    got, head = ask(zoo, WEIGHTS), ask(zoo, WEIGHTS, method="HEAD")
    assert (got.status_code, got.content) == (200, DATA)
    assert (head.status_code, head.headers["etag"]) == (200, f'"{SHA256}"')
    config = hashlib.sha256(JSON).hexdigest()
    zoo.published("alice/two@1", {"model.safetensors": weights(2)})
    for other in (
        WEIGHTS.replace(SHA256, config),
        WEIGHTS.replace(SHA256, SHA256[:8]),
        WEIGHTS.replace(SHA256, SHA256.upper()),
        WEIGHTS.replace("/1/", "/2/"),
        WEIGHTS.replace("digits", "two"),
    ):
        assert_problem(ask(zoo, other), 404, "NotFoundError")


@pytest.mark.parametrize("path", [f"{RESOLVE}/main/model.safetensors", WEIGHTS])
def test_a_withdrawn_release_is_gone_and_says_why(zoo: Zoo, path: str) -> None:
    withdraw(zoo, "alice", "digits", "1")
    problem = assert_problem(ask(zoo, path), 410, "YankedError")
    assert "withdrawn by the publisher" in problem["detail"]
    assert "a backdoor was found" in problem["detail"]
    assert ask(zoo, path, method="HEAD").status_code == 410


def test_a_token_is_demanded_as_these_clients_send_it(tmp_path: Path) -> None:
    with open_zoo(tmp_path / "zoo") as zoo:
        zoo.bind()
        zoo.published("alice/digits@1", FILES)
    with open_zoo(tmp_path / "zoo", token=TOKEN) as zoo:
        for path in (f"{RESOLVE}/1/config.json", INFO, WEIGHTS):
            assert_problem(ask(zoo, path), 401, "NotPermittedError")
            known = ask(zoo, path, headers={"Authorization": f"Bearer {TOKEN}"})
            assert known.status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written_through_these_routes(zoo: Zoo, method: str) -> None:
    for path in (f"{RESOLVE}/1/config.json", INFO, WEIGHTS):
        assert ask(zoo, path, method=method).status_code == 405


def test_the_other_routes_are_not_shadowed(zoo: Zoo) -> None:
    for path in ("/healthz", "/readyz", "/api/v1/models", "/api/v1/openapi.json"):
        assert ask(zoo, path).status_code == 200
    assert_problem(ask(zoo, "/api/v1/resolve/x/y"), 404, "NotFoundError")
