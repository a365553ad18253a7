import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.storage.blobs import FolderBlobs, StorageFullError
from tests.service.zoo import PART_BYTES, Zoo, assert_problem, open_zoo, weights


@contextmanager
def no_file_longer_than(size_bytes: int) -> Iterator[None]:
    """Make the system refuse longer files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_blob_has_its_place_under_the_digest_of_its_bytes(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    with store.staged(iter([b"ab", b"c"])) as blob:
        assert not store.path(blob.sha256).exists()
        store.keep(blob)

    assert store.path(blob.sha256).read_bytes() == b"abc"
    assert files_in(tmp_path) == [store.path(blob.sha256)]


def test_a_blob_that_is_not_kept_leaves_no_file(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    with store.staged(iter([b"abc"])):
        pass
    assert files_in(tmp_path) == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    with (
        no_file_longer_than(4096),
        pytest.raises(StorageFullError, match="disk is full"),
        store.staged(iter([b"x" * 3000] * 3)),
    ):
        pass
    assert files_in(tmp_path) == []


def test_a_part_that_meets_a_full_disk_is_refused_and_can_be_sent_again(
    tmp_path: Path,
) -> None:
    data = weights(count=2_000_000)
    with open_zoo(tmp_path / "zoo", part_bytes=len(data)) as zoo:
        upload = zoo.declare({"m.safetensors": data}).json()
        with no_file_longer_than(1_000_000):
            response = zoo.send_part(upload["id"], "m.safetensors", 0, data)
        assert_problem(response, 507, "LocalError")
        assert files_in(tmp_path / "zoo" / "uploads") == []

        zoo.send_parts(upload, {"m.safetensors": data})
        with no_file_longer_than(1_000_000):
            response = zoo.post(f"/uploads/{upload['id']}/complete")
        assert_problem(response, 507, "LocalError")
        assert files_in(tmp_path / "zoo" / "blobs") == []

        response = zoo.post(f"/uploads/{upload['id']}/complete")
        assert response.status_code == 200


def test_an_upload_deleted_under_a_sender_is_not_found(zoo: Zoo) -> None:
    upload = zoo.declare({"m.safetensors": weights()}).json()["id"]
    (zoo.app.state.context.uploads_folder / upload).rmdir()

    response = zoo.send_part(upload, "m.safetensors", 0, b"x" * PART_BYTES)

    assert_problem(response, 404, "NotFoundError")
