"""What stock TUF clients ask for, how long caches keep it, and what is not there."""

import hashlib
from pathlib import Path
from urllib.parse import quote

import pytest

from model_zoo.tuf.view import hashed_path
from tests.service.operator import stranger
from tests.service.zoo import (
    JSON,
    Zoo,
    after,
    assert_problem,
    open_zoo,
    weights,
)

FILES = {"model.safetensors": weights(1), "card.json": JSON}
DIGEST = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
CARD = hashlib.sha256(JSON).hexdigest()
WEIGHTS = f"/tuf/targets/alice/digits/1/{DIGEST}.model.safetensors"
FOR_GOOD = "public, max-age=31536000, immutable"
METADATA = [
    "1.root.json",
    "1.targets.json",
    "3.targets.json",
    "1.alice.json",
    "1.zoo~yanked.json",
    "4.snapshot.json",
]


@pytest.fixture(scope="module")
def bound_folder(bound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where alice has published one release; each test's service begins with a copy."""
    to = tmp_path_factory.mktemp("published") / "zoo"
    return after(
        lambda zoo: zoo.published("alice/digits@1", FILES), bound_folder, to=to
    )


@pytest.mark.parametrize("name", METADATA)
def test_what_has_a_version_in_its_name_is_kept_for_good(zoo: Zoo, name: str) -> None:
    response = zoo.get(f"/tuf/metadata/{name}")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == FOR_GOOD
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.json()["signed"]["version"] == int(name.partition(".")[0])


def test_the_timestamp_is_asked_for_anew(zoo: Zoo) -> None:
    response = zoo.get("/tuf/metadata/timestamp.json")

    assert response.headers["cache-control"] == "no-cache"
    assert response.json()["signed"]["_type"] == "timestamp"


def test_every_target_of_a_release_is_where_its_hash_says(
    zoo: Zoo, tmp_path: Path
) -> None:
    view = stranger(zoo, tmp_path / "seen")
    for name in ("model.safetensors", "release.json"):
        target = view.target(f"alice/digits/1/{name}")
        assert target is not None
        response = zoo.get(f"/tuf/targets/{hashed_path(target)}")
        assert response.status_code == 200
        target.verify_length_and_hashes(response.content)
    assert zoo.get(WEIGHTS).content == FILES["model.safetensors"]


def test_the_trusted_keys_are_a_target(zoo: Zoo, tmp_path: Path) -> None:
    target = stranger(zoo, tmp_path / "seen").target("zoo/trusted-keys.json")

    assert target is not None
    response = zoo.get(f"/tuf/targets/{hashed_path(target)}")
    assert response.headers["cache-control"] == FOR_GOOD
    assert response.json()["log"]


@pytest.mark.parametrize(
    "path", ["/tuf/metadata/timestamp.json", "/tuf/metadata/1.root.json", WEIGHTS]
)
def test_head_tells_the_same_without_the_bytes(zoo: Zoo, path: str) -> None:
    full, head = zoo.get(path), zoo.ask("HEAD", path)

    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "content-type", "cache-control"):
        assert head.headers.get(name) == full.headers.get(name)


def test_weights_are_resumed_where_they_broke_off(zoo: Zoo) -> None:
    response = zoo.get(WEIGHTS, headers={"Range": "bytes=10-"})

    assert response.status_code == 206
    assert response.content == FILES["model.safetensors"][10:]


@pytest.mark.parametrize(
    "name",
    [
        "2.root.json",
        "0.root.json",
        "01.root.json",
        "-1.root.json",
        "+1.root.json",
        "1e0.root.json",
        "\u0661.root.json",
        "99999999999999999999.root.json",
        "root.json",
        "snapshot.json",
        "targets.json",
        "1.timestamp.json",
        "999.timestamp.json",
        "timestamp.json.json",
        "TIMESTAMP.json",
        "1.Alice.json",
        "1.mallory.json",
        "1.nobody.json",
        "1.alice.jsonx",
        "1.alice.json\n",
        "1..json",
        "1." + "a" * 5000 + ".json",
        "1.alice~b-0.json",
        "..%2f..%2fzoo.db",
        "%00",
        "'; drop table trust_metadata;--",
    ],
)
def test_metadata_that_there_is_not_is_not_found(zoo: Zoo, name: str) -> None:
    response = zoo.get(f"/tuf/metadata/{quote(name, safe='%')}")

    assert_problem(response, 404, "NotFoundError")
    assert "cache-control" not in response.headers or (
        "immutable" not in response.headers["cache-control"]
    )


@pytest.mark.parametrize(
    "path",
    [
        f"alice/digits/1/{'0' * 64}.model.safetensors",
        f"alice/digits/1/{CARD}.model.safetensors",
        f"alice/digits/1/{DIGEST}.card.json",
        f"alice/digits/2/{DIGEST}.model.safetensors",
        f"alice/letters/1/{DIGEST}.model.safetensors",
        f"mallory/digits/1/{DIGEST}.model.safetensors",
        f"{DIGEST}.model.safetensors",
        f"alice/{DIGEST}.model.safetensors",
        f"alice/digits/1/2/{DIGEST}.model.safetensors",
        "alice/digits/1/model.safetensors",
        f"alice/digits/1/{DIGEST[:63]}.model.safetensors",
        f"alice/digits/1/{DIGEST.upper()}.model.safetensors",
        f"alice/digits/1/{DIGEST}.",
        f"alice/digits/1/{DIGEST}",
        f"alice/../alice/digits/1/{DIGEST}.model.safetensors".replace("..", "%2e%2e"),
        f"%2falice/digits/1/{DIGEST}.model.safetensors",
        f"ALICE/digits/1/{DIGEST}.model.safetensors",
        "",
        "%00",
        "a" * 9000,
    ],
)
def test_targets_that_there_are_not_are_refused(zoo: Zoo, path: str) -> None:
    response = zoo.get(f"/tuf/targets/{path}")

    assert response.status_code in {400, 404}, response.text
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_written_there(zoo: Zoo, method: str) -> None:
    for path in ("/tuf/metadata/timestamp.json", WEIGHTS):
        assert zoo.ask(method, path).status_code == 405


def test_behind_a_token_no_shared_cache_may_keep_it(tmp_path: Path) -> None:
    token = "t" * 40
    with open_zoo(tmp_path / "zoo", token=token) as zoo:
        path = "/tuf/metadata/1.root.json"
        assert_problem(zoo.get(path), 401, "NotPermittedError")
        known = zoo.get(path, headers={"Authorization": f"Bearer {token}"})
        assert known.headers["cache-control"].startswith("private, ")
