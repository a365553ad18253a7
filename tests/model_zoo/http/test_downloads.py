"""Downloads that go on where another process, or another connection, broke off."""

import hashlib
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from model_zoo.errors import (
    DigestMismatchError,
    LengthMismatchError,
    TransportError,
    UntrustedServerError,
)
from model_zoo.http.client import HttpClient
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.downloads import BUFFER_BYTES, Downloader
from model_zoo.http.partials import _is_ours
from model_zoo.http.server import Server
from tests.model_zoo.certificates import authority_and_server
from tests.model_zoo.servers import answering, respond

GOOD = b"".join(bytes([i]) * BUFFER_BYTES for i in range(3)) + b"the end"
SHA256 = hashlib.sha256(GOOD).hexdigest()
PART = f".{SHA256}.0.part"
QUICK = DownloadLimits(pauses_seconds=(0, 0))


class Serving:
    """Serves GOOD, whole or in part, and remembers what it was asked for."""

    def __init__(self, *breaks: int, knows_ranges: bool = True) -> None:
        self.breaks = list(breaks)
        self.knows_ranges = knows_ranges
        self.asked: list[tuple[str | None, str | None]] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        ranges = request.headers["Range"]
        self.asked.append((ranges, request.headers["If-Range"]))
        start = 0
        if ranges and self.knows_ranges:
            start = int(ranges.removeprefix("bytes=").removesuffix("-"))
        if start >= len(GOOD):
            respond(request, b"", status=416)
            return
        end = self.breaks.pop(0) if self.breaks else len(GOOD)
        respond(
            request,
            GOOD[start:end],
            length=len(GOOD) - start,
            status=206 if start else 200,
            headers={"Content-Range": f"bytes {start}-{len(GOOD) - 1}/{len(GOOD)}"},
        )


@pytest.fixture
def to(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here" / "model.safetensors"


@pytest.fixture
def partials(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "partials"


def fetch(url: str, to: Path, partials: Path | None = None) -> list[int]:
    moved: list[int] = []
    Downloader(HttpClient(Server(url), QUICK), partials).fetch(
        "/", to, size_bytes=len(GOOD), sha256=SHA256, progress=moved.append
    )
    return moved


def test_a_broken_connection_is_gone_on_with_in_the_same_call(to: Path) -> None:
    serving = Serving(BUFFER_BYTES + 5, 2 * BUFFER_BYTES)
    with answering(serving) as url:
        moved = fetch(url, to)

    assert to.read_bytes() == GOOD
    assert sum(moved) == len(GOOD)
    tag = f'"{SHA256}"'
    assert serving.asked == [
        (None, None),
        (f"bytes={BUFFER_BYTES + 5}-", tag),
        (f"bytes={2 * BUFFER_BYTES}-", tag),
    ]
    assert [path.name for path in to.parent.iterdir()] == [to.name]


FETCH = """
import os, signal, sys
from pathlib import Path
from model_zoo.http.downloads import Downloader
from model_zoo.http.client import HttpClient
from model_zoo.http.server import Server
arrived = 0
def kill_after_enough(count):
    global arrived
    arrived += count
    if arrived >= int(sys.argv[5]):
        os.kill(os.getpid(), signal.SIGKILL)
Downloader(HttpClient(Server(sys.argv[1])), Path(sys.argv[6])).fetch(
    "/", Path(sys.argv[2]), size_bytes=int(sys.argv[3]), sha256=sys.argv[4],
    progress=kill_after_enough,
)
"""


def test_what_a_killed_process_left_is_not_sent_again(to: Path, partials: Path) -> None:
    serving = Serving()
    with answering(serving) as url:
        size, enough = str(len(GOOD)), str(2 * BUFFER_BYTES)
        arguments = [url, str(to), size, SHA256, enough, str(partials)]
        child = subprocess.run([sys.executable, "-c", FETCH, *arguments], check=False)
        assert child.returncode == -9
        assert (partials / PART).read_bytes() == GOOD[: 2 * BUFFER_BYTES]
        elsewhere = to.with_name("another-name")
        moved = fetch(url, elsewhere, partials)

    assert elsewhere.read_bytes() == GOOD
    assert serving.asked[-1][0] == f"bytes={2 * BUFFER_BYTES}-"
    assert moved[0] == 2 * BUFFER_BYTES
    assert list(partials.iterdir()) == []


def test_a_server_that_knows_no_ranges_sends_everything_again(to: Path) -> None:
    serving = Serving(BUFFER_BYTES, knows_ranges=False)
    with answering(serving) as url:
        moved = fetch(url, to)
    assert to.read_bytes() == GOOD
    assert -BUFFER_BYTES in moved
    assert sum(moved) == len(GOOD)


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(b"x" + GOOD[1:BUFFER_BYTES], id="other bytes"),
        pytest.param(bytes(len(GOOD)), id="all of it, but zeros"),
        pytest.param(GOOD + b"!", id="more than all of it"),
    ],
)
def test_a_partial_that_was_damaged_is_healed(to: Path, left: bytes) -> None:
    to.with_name(PART).write_bytes(left)
    serving = Serving()
    with answering(serving) as url:
        moved = fetch(url, to)
    assert to.read_bytes() == GOOD
    assert serving.asked[-1] == (None, None)
    assert sum(moved) == len(GOOD)


def test_a_partial_that_is_whole_needs_no_server(to: Path) -> None:
    to.with_name(PART).write_bytes(GOOD)
    fetch("http://127.0.0.1:1", to)
    assert to.read_bytes() == GOOD


def test_a_server_whose_file_is_shorter_than_the_partial_is_found_out(
    to: Path,
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.headers["Range"]:
            respond(request, b"", status=416)
        else:
            respond(request, GOOD[:5])

    to.with_name(PART).write_bytes(GOOD[:7])
    with answering(answer) as url, pytest.raises(LengthMismatchError, match="found 5"):
        fetch(url, to)
    assert list(to.parent.iterdir()) == []


def test_bytes_that_cannot_be_believed_are_not_kept(to: Path) -> None:
    with (
        answering(lambda request: respond(request, bytes(len(GOOD)))) as url,
        pytest.raises(DigestMismatchError),
    ):
        fetch(url, to)
    assert list(to.parent.iterdir()) == []


def test_a_server_with_a_forged_certificate_does_not_cost_the_partial(
    to: Path, tmp_path: Path
) -> None:
    _, tls = authority_and_server(tmp_path / "ours")
    other, _ = authority_and_server(tmp_path / "theirs")
    to.with_name(PART).write_bytes(GOOD[:7])
    with answering(Serving(), tls=tls) as url, pytest.raises(UntrustedServerError):
        Downloader(HttpClient(Server(url, ca=other))).fetch(
            "/", to, size_bytes=len(GOOD), sha256=SHA256
        )
    assert to.with_name(PART).read_bytes() == GOOD[:7]


def test_a_failure_before_the_first_byte_leaves_nothing(to: Path) -> None:
    with pytest.raises(TransportError, match="refused"):
        fetch("http://127.0.0.1:1", to)
    assert list(to.parent.iterdir()) == []


@pytest.fixture
def other_file_system() -> Iterator[Path]:
    """A folder on another file system than the temporary one, where there is one."""
    shared = Path("/dev/shm")  # noqa: S108  wanted for its file system
    if not shared.is_dir() or shared.stat().st_dev == Path.cwd().stat().st_dev:
        pytest.skip("needs a second file system")
    folder = shared / f"zoo-test-{SHA256[:8]}-{threading.get_native_id()}"
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_partials_may_lie_on_another_file_system(
    to: Path, other_file_system: Path
) -> None:
    with answering(Serving()) as url:
        fetch(url, to, other_file_system)
    assert to.read_bytes() == GOOD
    assert [path.name for path in to.parent.iterdir()] == [to.name]
    assert list(other_file_system.iterdir()) == []


def test_a_second_download_does_not_touch_the_partial_of_one_under_way(
    to: Path, partials: Path
) -> None:
    goes_on, began = threading.Event(), threading.Event()
    serving = Serving()

    def hold(count: int) -> None:
        if count:
            began.set()
            assert goes_on.wait(30)

    with answering(serving) as url:
        first = threading.Thread(
            target=Downloader(HttpClient(Server(url)), partials).fetch,
            args=("/", to.with_name("first")),
            kwargs={"size_bytes": len(GOOD), "sha256": SHA256, "progress": hold},
        )
        first.start()
        assert began.wait(30)
        fetch(url, to, partials)
        goes_on.set()
        first.join()

    assert to.read_bytes() == GOOD
    assert to.with_name("first").read_bytes() == GOOD
    assert [asked for asked, _ in serving.asked] == [None, None]
    assert list(partials.iterdir()) == []


def test_what_a_killed_second_download_left_goes_with_the_first(
    to: Path, partials: Path
) -> None:
    partials.mkdir(parents=True)
    orphan = partials / PART.replace(".0.", ".1.")
    orphan.write_bytes(GOOD[:5])
    with answering(Serving()) as url:
        fetch(url, to, partials)
    assert list(partials.iterdir()) == []


def test_a_partial_that_its_last_holder_moved_away_is_not_mistaken_for_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / PART
    path.write_bytes(b"mine")
    with io.FileIO(path, "r+") as opened:
        assert _is_ours(opened, path)
        path.rename(tmp_path / "model.safetensors")
        assert not _is_ours(opened, path)
        path.write_bytes(b"the next one's")
        assert not _is_ours(opened, path)


def test_many_processes_fetch_the_same_file_at_once(to: Path, partials: Path) -> None:
    targets = [to.with_name(f"copy-{number}") for number in range(4)]
    size, never = str(len(GOOD)), str(2 * len(GOOD))
    with answering(Serving()) as url:
        processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-c", FETCH),
                    *(url, str(target), size, SHA256, never, str(partials)),
                ]
            )
            for target in targets
        ]
        assert [process.wait() for process in processes] == [0] * 4
    assert {target.read_bytes() for target in targets} == {GOOD}
    assert list(partials.iterdir()) == []
