"""What the service may rely on, wherever its blobs lie: one suite for all of them."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_zoo.errors import LocalError, NotFoundError
from service.storage.blobs import CHUNK_BYTES, Blobs, FolderBlobs

ABC = hashlib.sha256(b"abc").hexdigest()
NO_DIGESTS = ("..", "../../etc/passwd", "A" * 64, "0" * 63, "")

Damage = Callable[[str], None]


def in_a_folder(folder: Path) -> tuple[Blobs, Damage]:
    """Return blobs in a folder, and what turns a byte of one of them."""
    blobs = FolderBlobs(folder / "blobs")
    blobs.make()

    def damage(sha256: str) -> None:
        path = blobs.path(sha256)
        path.write_bytes(b"x" + path.read_bytes()[1:])

    return blobs, damage


@pytest.fixture(params=[in_a_folder], ids=["folder"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Blobs, Damage]:
    made: tuple[Blobs, Damage] = request.param(tmp_path)
    return made


@pytest.fixture
def blobs(opened: tuple[Blobs, Damage]) -> Blobs:
    return opened[0]


def kept(blobs: Blobs, *chunks: bytes) -> str:
    with blobs.staged(iter(chunks)) as blob:
        blobs.keep(blob)
    return blob.sha256


def bytes_of(blobs: Blobs, sha256: str, end: int) -> bytes:
    return b"".join(blobs.read(sha256, start=0, end=end))


def test_a_staged_blob_is_hashed_and_measured_and_cannot_be_asked_for(
    blobs: Blobs,
) -> None:
    with blobs.staged(iter([b"ab", b"c"])) as blob:
        assert (blob.sha256, blob.size_bytes) == (ABC, 3)
        assert blob.path.read_bytes() == b"abc"
        assert not blobs.holds(ABC)
        assert list(blobs.digests()) == []


def test_a_blob_that_is_kept_is_found_under_the_digest_of_its_bytes(
    blobs: Blobs,
) -> None:
    assert kept(blobs, b"ab", b"c") == ABC

    assert blobs.holds(ABC)
    assert list(blobs.digests()) == [ABC]
    assert bytes_of(blobs, ABC, 3) == b"abc"


def test_a_blob_that_is_not_kept_is_gone(blobs: Blobs) -> None:
    with blobs.staged(iter([b"abc"])) as blob:
        pass
    assert not blob.path.exists()
    assert not blobs.holds(ABC)


def test_an_error_in_the_source_leaves_no_blob(blobs: Blobs) -> None:
    def broken() -> Iterator[bytes]:
        yield b"abc"
        msg = "a part is missing"
        raise NotFoundError(msg)

    with (
        pytest.raises(NotFoundError, match="a part is missing"),
        blobs.staged(broken()),
    ):
        pass
    assert list(blobs.digests()) == []


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (1, 3), (0, CHUNK_BYTES + 5), (CHUNK_BYTES - 1, None)]
)
def test_a_range_is_exactly_the_bytes_that_were_asked_for(
    blobs: Blobs, start: int, end: int | None
) -> None:
    data = bytes(range(256)) * (CHUNK_BYTES // 128)
    sha256 = kept(blobs, data)
    stop = len(data) if end is None else end
    assert b"".join(blobs.read(sha256, start=start, end=stop)) == data[start:stop]


def test_a_local_file_has_the_bytes_of_the_blob(blobs: Blobs) -> None:
    with blobs.local(kept(blobs, b"abc")) as path:
        assert path.read_bytes() == b"abc"


def test_there_is_no_local_file_of_a_blob_that_is_not_there(blobs: Blobs) -> None:
    with pytest.raises(NotFoundError), blobs.local(ABC):
        pass


def test_many_writers_of_the_same_bytes_agree(blobs: Blobs) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: kept(blobs, b"same" * 1000), range(16)))
    assert set(blobs.digests()) == digests
    assert len(digests) == 1


def test_what_is_kept_twice_is_there_once_until_it_is_discarded(blobs: Blobs) -> None:
    kept(blobs, b"abc")
    kept(blobs, b"abc")
    assert list(blobs.digests()) == [ABC]

    blobs.discard(ABC)
    assert not blobs.holds(ABC)
    blobs.discard(ABC)  # none is no error: two sweeps may meet


def test_a_damaged_blob_is_set_aside_and_the_next_upload_heals_it(
    opened: tuple[Blobs, Damage],
) -> None:
    blobs, damage = opened
    kept(blobs, b"abc")
    blobs.require_intact(ABC)
    damage(ABC)

    with pytest.raises(LocalError, match="damaged"):
        blobs.require_intact(ABC)
    assert not blobs.holds(ABC)

    kept(blobs, b"abc")
    blobs.require_intact(ABC)


def test_what_a_killed_writer_left_is_forgotten_and_what_is_kept_is_not(
    blobs: Blobs,
) -> None:
    kept(blobs, b"abc")
    with blobs.staged(iter([b"left behind"])) as blob:
        blobs.forget_staged()
        assert not blob.path.exists()
    assert list(blobs.digests()) == [ABC]
    assert blobs.is_writable()


@pytest.mark.parametrize("digest", NO_DIGESTS)
def test_what_is_no_digest_names_no_blob(blobs: Blobs, digest: str) -> None:
    with pytest.raises(NotFoundError):
        blobs.holds(digest)
    with pytest.raises(NotFoundError):
        list(blobs.read(digest, start=0, end=1))
    with pytest.raises(NotFoundError):
        blobs.discard(digest)
