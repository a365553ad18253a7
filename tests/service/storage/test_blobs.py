import hashlib
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_zoo.errors import NotFoundError
from service.storage.blobs import BlobStore, StorageFullError
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


def test_a_blob_is_found_under_the_digest_of_its_bytes(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with store.staged(iter([b"ab", b"c"])) as blob:
        assert (blob.size_bytes, blob.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
        assert not store.path(blob.sha256).exists()
        store.keep(blob)

    assert store.path(blob.sha256).read_bytes() == b"abc"
    assert list(store.digests()) == [blob.sha256]
    assert files_in(tmp_path) == [store.path(blob.sha256)]


def test_a_blob_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with store.staged(iter([b"abc"])):
        pass
    assert files_in(tmp_path) == []


def test_many_writers_of_the_same_bytes_agree(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)

    def write(_: int) -> str:
        with store.staged(iter([b"same" * 1000])) as blob:
            store.keep(blob)
        return blob.sha256

    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(write, range(16)))

    assert list(store.digests()) == list(digests)
    assert len(files_in(tmp_path)) == 1


@pytest.mark.parametrize("digest", ["..", "../../etc/passwd", "A" * 64, "0" * 63, ""])
def test_what_is_no_digest_names_no_blob(tmp_path: Path, digest: str) -> None:
    with pytest.raises(NotFoundError):
        BlobStore(tmp_path).path(digest)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
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
