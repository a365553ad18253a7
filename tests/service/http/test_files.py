import base64
import hashlib
from pathlib import Path

import pytest

from tests.service.zoo import (
    JSON,
    Zoo,
    after,
    assert_problem,
    release_path,
    weights,
)

NAME = "alice/digits@1"
DATA = weights(count=256)
DIGEST = hashlib.sha256(DATA).hexdigest()
FILE = f"{release_path(NAME)}/files/model.safetensors"


@pytest.fixture(scope="module")
def bound_folder(bound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where alice has published one release; each test's service begins with a copy."""
    to = tmp_path_factory.mktemp("published") / "zoo"
    return after(
        lambda zoo: zoo.published(NAME, {"model.safetensors": DATA}),
        bound_folder,
        to=to,
    )


@pytest.mark.parametrize("path", [FILE, f"/blobs/{DIGEST}"])
def test_bytes_come_with_a_strong_tag_and_their_digest(zoo: Zoo, path: str) -> None:
    response = zoo.get(path)

    assert (response.status_code, response.content) == (200, DATA)
    assert response.headers["etag"] == f'"{DIGEST}"'
    digest = base64.b64encode(bytes.fromhex(DIGEST)).decode()
    assert response.headers["repr-digest"] == f"sha-256=:{digest}:"
    cache = response.headers["cache-control"]
    assert cache == "public, max-age=31536000, immutable"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", [FILE, f"/blobs/{DIGEST}"])
def test_head_tells_the_same_without_the_bytes(zoo: Zoo, path: str) -> None:
    got, head = zoo.get(path), zoo.ask("HEAD", path)

    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(got.headers)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        ("bytes=-99999", 0, len(DATA)),
        ("bytes=10-99999", 10, len(DATA)),
    ],
)
def test_a_range_is_answered_with_that_range(
    zoo: Zoo, asked: str, start: int, end: int
) -> None:
    response = zoo.get(FILE, headers={"Range": asked})

    assert (response.status_code, response.content) == (206, DATA[start:end])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert response.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=-0", "bytes=9999-"])
def test_a_range_outside_the_file_is_refused(zoo: Zoo, asked: str) -> None:
    response = zoo.get(FILE, headers={"Range": asked})

    assert_problem(response, 416, "InvalidSpecError")
    assert response.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    "asked",
    ["bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=0-1", "bytes=x-", "bytes=1e3-"],
)
def test_a_range_that_is_not_served_gets_the_whole_file(zoo: Zoo, asked: str) -> None:
    response = zoo.get(FILE, headers={"Range": asked})

    assert (response.status_code, response.content) == (200, DATA)


@pytest.mark.parametrize(("tag", "status"), [(DIGEST, 206), ("0" * 64, 200)])
def test_a_range_of_another_version_gets_the_whole_file(
    zoo: Zoo, tag: str, status: int
) -> None:
    headers = {"Range": "bytes=0-3", "If-Range": f'"{tag}"'}
    assert zoo.get(FILE, headers=headers).status_code == status


@pytest.mark.parametrize(
    "tags", [f'"{DIGEST}"', f'W/"{DIGEST}"', f'"x", "{DIGEST}"', "*"]
)
def test_who_has_the_bytes_is_not_sent_them_again(zoo: Zoo, tags: str) -> None:
    response = zoo.get(FILE, headers={"If-None-Match": tags})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == f'"{DIGEST}"'


def test_who_has_other_bytes_is_sent_ours(zoo: Zoo) -> None:
    response = zoo.get(FILE, headers={"If-None-Match": f'"{"0" * 64}"'})
    assert response.content == DATA


@pytest.mark.parametrize(
    "path",
    [
        f"{release_path(NAME)}/files/other.json",
        f"{release_path('alice/digits@2')}/files/model.safetensors",
        f"{release_path('bob/digits@1')}/files/model.safetensors",
        f"/blobs/{'0' * 64}",
        "/blobs/nonsense",
    ],
)
def test_files_and_blobs_that_do_not_exist_are_not_found(zoo: Zoo, path: str) -> None:
    assert_problem(zoo.get(path), 404, "NotFoundError")
    head = zoo.ask("HEAD", path)
    assert head.status_code == 404


def test_a_blob_is_shown_only_once_something_consists_of_it(zoo: Zoo) -> None:
    digest = hashlib.sha256(JSON).hexdigest()
    zoo.upload({"card.json": JSON})
    assert_problem(zoo.get(f"/blobs/{digest}"), 404, "NotFoundError")

    zoo.published("alice/digits@2", {"card.json": JSON})

    assert zoo.get(f"/blobs/{digest}").content == JSON
