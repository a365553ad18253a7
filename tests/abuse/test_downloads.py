"""A server, a network or a disk that misbehaves while one file is downloaded.

Every refusal names the file, and leaves the folder as it was but for a partial file
that the next download goes on with.
"""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    LengthMismatchError,
    LocalError,
    MalformedDocumentError,
    NotFoundError,
    TransportError,
    ZooError,
)
from model_zoo.http import partials
from model_zoo.http.client import HttpClient
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.downloads import BUFFER_BYTES, Downloader, download
from model_zoo.http.server import Server
from tests.model_zoo.servers import answering, respond

GOOD = b"".join(bytes([i]) * BUFFER_BYTES for i in range(6)) + b"the end"
"""Over six buffers, no two alike, so that some are used again for other bytes."""
SHA256 = hashlib.sha256(GOOD).hexdigest()
OLDER = b"an earlier good file"
ONCE = DownloadLimits(pauses_seconds=())
HASTY = DownloadLimits(
    head_seconds=0.3,
    window_seconds=0.2,
    min_bytes_per_second=10_000,
    pauses_seconds=(),
)


@pytest.fixture(params=["a new file", "over an earlier one"])
def to(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    if request.param == "over an earlier one":
        path.write_bytes(OLDER)
    return path


@contextmanager
def unchanged(to: Path) -> Iterator[None]:
    """Nothing is written, and what was there is still there."""
    before = {path.name: path.read_bytes() for path in to.parent.iterdir()}
    yield
    assert {path.name: path.read_bytes() for path in to.parent.iterdir()} == before


def fetch(
    url: str, to: Path, *, size_bytes: int = len(GOOD), limits: DownloadLimits = ONCE
) -> None:
    Downloader(HttpClient(Server(url), limits)).fetch(
        "/file", to, size_bytes=size_bytes, sha256=SHA256
    )


def partial_beside(to: Path) -> Path:
    return to.with_name(f".{SHA256}.0.part")


@contextmanager
def keeping(to: Path, partial: bytes) -> Iterator[None]:
    """Nothing changes but that ``partial`` is kept, unless it is empty."""
    before = {path.name: path.read_bytes() for path in to.parent.iterdir()}
    yield
    if partial:
        before[partial_beside(to).name] = partial
    assert {path.name: path.read_bytes() for path in to.parent.iterdir()} == before


def test_the_right_bytes_arrive(to: Path) -> None:
    moved: list[int] = []
    with answering(lambda request: respond(request, GOOD)) as url:
        download(
            Server(url),
            "/file",
            to,
            size_bytes=len(GOOD),
            sha256=SHA256,
            progress=moved.append,
        )
    assert to.read_bytes() == GOOD
    assert sum(moved) == len(GOOD)
    assert [path.name for path in to.parent.iterdir()] == [to.name]


class SlowDigest:
    """SHA-256 on a machine whose network is faster than its processor."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, data: memoryview) -> None:
        time.sleep(0.03)
        self._digest.update(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def test_no_buffer_is_used_again_before_it_was_hashed(
    monkeypatch: pytest.MonkeyPatch, to: Path
) -> None:
    monkeypatch.setattr(partials, "hashlib", SimpleNamespace(sha256=SlowDigest))
    with answering(lambda request: respond(request, GOOD)) as url:
        fetch(url, to)
    assert to.read_bytes() == GOOD


def test_an_empty_file_arrives(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"").hexdigest()
    with answering(lambda request: respond(request, b"")) as url:
        download(Server(url), "/", tmp_path / "empty", size_bytes=0, sha256=sha256)
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.parametrize("position", [0, BUFFER_BYTES, len(GOOD) - 1])
def test_one_flipped_bit_is_refused(to: Path, position: int) -> None:
    flipped = bytearray(GOOD)
    flipped[position] ^= 1
    with (
        answering(lambda request: respond(request, bytes(flipped))) as url,
        unchanged(to),
        pytest.raises(DigestMismatchError, match=to.name),
    ):
        fetch(url, to)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(GOOD[:-1], id="undersized by one byte"),
        pytest.param(GOOD + b"!", id="oversized by one byte"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_complete_body_of_another_length_is_refused(to: Path, body: bytes) -> None:
    with (
        answering(lambda request: respond(request, body)) as url,
        unchanged(to),
        pytest.raises(LengthMismatchError, match=to.name),
    ):
        fetch(url, to)


@pytest.mark.parametrize("encoding", ["chunked", "the connection's end"])
def test_a_file_that_is_not_announced_with_its_length_is_refused_unread(
    to: Path, encoding: str
) -> None:
    sent: list[int] = []
    hung_up = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if encoding == "chunked":
            request.send_header("Transfer-Encoding", "chunked")
        request.send_header("Connection", "close")
        request.end_headers()
        chunk = bytes(BUFFER_BYTES)
        try:
            while len(sent) < 1000:
                request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                sent.append(len(chunk))
        except OSError:
            hung_up.set()

    with answering(answer) as url, unchanged(to):
        with pytest.raises(MalformedDocumentError, match="without a Content-Length"):
            fetch(url, to)
        assert hung_up.wait(60)
    assert len(sent) < 1000


@pytest.mark.parametrize("kept", [0, 1, BUFFER_BYTES, len(GOOD) - 1])
def test_a_connection_that_breaks_off_may_be_tried_again(to: Path, kept: int) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, GOOD[:kept], length=len(GOOD))

    with (
        answering(answer) as url,
        keeping(to, GOOD[:kept]),
        pytest.raises(TransportError, match=f"{kept} of {len(GOOD)} bytes"),
    ):
        fetch(url, to)


def test_a_server_that_is_not_there_may_be_tried_again(to: Path) -> None:
    with answering(lambda request: respond(request, GOOD)) as url:
        pass
    with unchanged(to), pytest.raises(TransportError, match="refused"):
        fetch(url, to)


def test_a_redirect_is_never_followed(to: Path) -> None:
    with answering(lambda request: respond(request, GOOD)) as elsewhere:

        def answer(request: BaseHTTPRequestHandler) -> None:
            respond(request, b"", status=302, headers={"Location": elsewhere})

        with (
            answering(answer) as url,
            unchanged(to),
            pytest.raises(InvalidSpecError, match="redirect"),
        ):
            fetch(url, to)


def test_the_server_s_refusal_is_told(to: Path) -> None:
    problem = b'{"code": "NotFoundError", "detail": "no such file"}'
    with (
        answering(lambda request: respond(request, problem, status=404)) as url,
        unchanged(to),
        pytest.raises(NotFoundError, match="no such file"),
    ):
        fetch(url, to)


def test_ctrl_c_keeps_what_had_arrived(to: Path) -> None:
    def interrupt(count: int) -> None:
        if count:
            raise KeyboardInterrupt

    with (
        answering(lambda request: respond(request, GOOD)) as url,
        keeping(to, GOOD[:BUFFER_BYTES]),
        pytest.raises(KeyboardInterrupt),
    ):
        download(
            Server(url),
            "/file",
            to,
            size_bytes=len(GOOD),
            sha256=SHA256,
            progress=interrupt,
        )


CHILD = """
import resource, sys
from pathlib import Path
from model_zoo.http.downloads import download
from model_zoo.http.server import Server
from model_zoo.errors import LocalError
url, to, size, sha256, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    download(Server(url), "/file", Path(to), size_bytes=int(size), sha256=sha256)
except LocalError as error:
    sys.exit(f"LocalError: {error}")
"""


def fetch_in_a_child(url: str, to: Path, *, limit_bytes: int) -> str:
    """Download in a process of its own; return what it says on stderr."""
    command = [sys.executable, "-c", CHILD, url, str(to), str(len(GOOD)), SHA256]
    child = subprocess.run(
        [*command, str(limit_bytes)], capture_output=True, text=True, check=False
    )
    assert child.returncode == 1, child
    return child.stderr


@pytest.mark.parametrize("limit_bytes", [1, BUFFER_BYTES, len(GOOD) - 1])
def test_a_file_over_the_limit_of_the_system_is_a_local_error(
    to: Path, limit_bytes: int
) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with answering(lambda request: respond(request, GOOD)) as url, unchanged(to):
        said = fetch_in_a_child(url, to, limit_bytes=limit_bytes)
    assert said.startswith("LocalError: cannot write")
    assert "File too large" in said


def test_a_full_disk_is_a_local_error(tmp_path: Path) -> None:
    """On a disk that is really full where root may mount one; the limit above else."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    mounted = (
        mount is not None
        and not subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)],
            capture_output=True,
            check=False,
        ).returncode
    )
    try:
        with (
            answering(lambda request: respond(request, GOOD)) as url,
            unchanged(disk / "model.safetensors"),
        ):
            said = fetch_in_a_child(
                url,
                disk / "model.safetensors",
                limit_bytes=0 if mounted else BUFFER_BYTES,
            )
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)  # noqa: S607  as mount
    assert said.startswith("LocalError: cannot write")
    assert ("No space left" if mounted else "File too large") in said


def test_a_folder_that_is_not_there_is_a_local_error(tmp_path: Path) -> None:
    with (
        answering(lambda request: respond(request, GOOD)) as url,
        pytest.raises(LocalError, match="No such file"),
    ):
        fetch(url, tmp_path / "nowhere" / "model.safetensors")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_any_bytes_for_an_answer_are_a_told_refusal(raw: bytes, tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(raw)
        request.close_connection = True

    to = tmp_path / "file"
    with answering(answer) as url, pytest.raises(ZooError):
        fetch(url, to)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "content_range"),
    [
        pytest.param(206, f"bytes 0-{len(GOOD) - 1}/{len(GOOD)}", id="all again"),
        pytest.param(206, f"bytes 8-{len(GOOD) - 1}/{len(GOOD)}", id="starts late"),
        pytest.param(206, f"bytes 7-{len(GOOD) - 2}/{len(GOOD)}", id="ends early"),
        pytest.param(206, f"bytes 7-{len(GOOD) - 1}/*", id="does not say of what"),
        pytest.param(206, f"bytes 7-{len(GOOD) - 1}/99", id="of another file"),
        pytest.param(206, "\x1b[31m", id="terminal control codes"),
        pytest.param(206, "", id="does not say"),
    ],
)
def test_another_range_than_the_one_asked_for_is_refused(
    to: Path, status: int, content_range: str
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        headers = {"Content-Range": content_range}
        respond(request, GOOD[7:], status=status, headers=headers)

    with answering(answer) as url, unchanged(to):
        partial_beside(to).write_bytes(GOOD[:7])
        with pytest.raises(MalformedDocumentError, match="expected bytes 7-") as told:
            fetch(url, to)
    assert "\x1b" not in str(told.value)


def test_a_range_that_nobody_asked_for_is_refused(to: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        headers = {"Content-Range": f"bytes 0-{len(GOOD) - 1}/{len(GOOD)}"}
        respond(request, GOOD, status=206, headers=headers)

    with (
        answering(answer) as url,
        unchanged(to),
        pytest.raises(MalformedDocumentError, match="expected bytes 0-"),
    ):
        fetch(url, to)


def test_a_rest_of_another_length_is_refused(to: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        headers = {"Content-Range": f"bytes 7-{len(GOOD) - 1}/{len(GOOD)}"}
        respond(request, GOOD[7:] + b"!", status=206, headers=headers)

    with answering(answer) as url, unchanged(to):
        partial_beside(to).write_bytes(GOOD[:7])
        with pytest.raises(LengthMismatchError, match=f"found {len(GOOD) + 1}"):
            fetch(url, to)


def dripping(
    head: bytes, *, drop: bytes = b"x", every_seconds: float = 0.02
) -> tuple[Callable[[BaseHTTPRequestHandler], None], threading.Event]:
    """Return a server that sends ``head`` and then a drop at a time, for good."""
    hung_up = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        try:
            request.wfile.write(head)
            for _ in range(2000):
                request.wfile.write(drop)
                time.sleep(every_seconds)
        except OSError:
            hung_up.set()

    return answer, hung_up


@pytest.mark.parametrize(
    ("head", "told"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD),
            "sent under 10000 bytes a second",
            id="the body",
        ),
        pytest.param(
            b"HTTP/1.1 500 No\r\nContent-Length: 60000\r\n\r\n",
            "sent under 10000 bytes a second",
            id="a refusal",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", "no answer within", id="a header"),
        pytest.param(b"HT", "no answer within", id="the status"),
    ],
)
def test_a_server_that_drips_is_cut_off(to: Path, head: bytes, told: str) -> None:
    answer, hung_up = dripping(head)
    with answering(answer) as url:
        with pytest.raises(TransportError, match=f"too slow: {told}"):
            fetch(url, to, limits=HASTY)
        assert hung_up.wait(10)


def test_a_server_that_falls_silent_is_cut_off_and_what_came_is_kept(to: Path) -> None:
    done = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(GOOD)))
        request.end_headers()
        request.wfile.write(GOOD[: 2 * BUFFER_BYTES])
        done.wait(30)

    with answering(answer) as url, keeping(to, GOOD[: 2 * BUFFER_BYTES]):
        with pytest.raises(TransportError, match="too slow"):
            fetch(url, to, limits=HASTY)
        done.set()


def test_a_server_that_never_answers_is_cut_off(to: Path) -> None:
    done = threading.Event()

    def answer(_: BaseHTTPRequestHandler) -> None:
        done.wait(30)

    with answering(answer) as url, unchanged(to):
        with pytest.raises(TransportError, match=r"no answer within 0\.3 s"):
            fetch(url, to, limits=HASTY)
        done.set()


def test_a_slow_disk_is_not_the_servers_fault(to: Path) -> None:
    def dawdle(_: int) -> None:
        time.sleep(0.25)

    with answering(lambda request: respond(request, GOOD)) as url:
        Downloader(HttpClient(Server(url), HASTY)).fetch(
            "/", to, size_bytes=len(GOOD), sha256=SHA256, progress=dawdle
        )
    assert to.read_bytes() == GOOD


def test_a_server_that_breaks_off_for_ever_is_given_up_after_a_few_attempts(
    to: Path,
) -> None:
    asked: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.headers["Range"])
        start = len(asked) - 1
        headers = {"Content-Range": f"bytes {start}-{len(GOOD) - 1}/{len(GOOD)}"}
        respond(
            request,
            GOOD[start : start + 1],
            length=len(GOOD) - start,
            status=206 if start else 200,
            headers=headers,
        )

    with (
        answering(answer) as url,
        keeping(to, GOOD[:3]),
        pytest.raises(TransportError, match="broke off after 3"),
    ):
        fetch(url, to, limits=DownloadLimits(pauses_seconds=(0, 0)))
    assert asked == [None, "bytes=1-", "bytes=2-"]


@pytest.mark.parametrize("make", ["link", "hard link", "folder", "pipe"])
def test_what_is_no_partial_of_ours_is_not_written_to(
    tmp_path: Path, make: str
) -> None:
    to, theirs = tmp_path / "new" / "file", tmp_path / "theirs"
    to.parent.mkdir()
    theirs.write_bytes(b"precious")
    trap = partial_beside(to)
    traps: dict[str, Callable[[], None]] = {
        "link": lambda: trap.symlink_to(theirs),
        "hard link": lambda: trap.hardlink_to(theirs),
        "folder": trap.mkdir,
        "pipe": lambda: os.mkfifo(trap),
    }
    traps[make]()
    with answering(lambda request: respond(request, GOOD)) as url:
        fetch(url, to)
    assert to.read_bytes() == GOOD
    assert theirs.read_bytes() == b"precious"
