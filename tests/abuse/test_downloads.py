"""A server, a network or a disk that misbehaves while one file is downloaded.

Every refusal names the file, and leaves the folder as it was.
"""

import hashlib
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo import downloads
from model_zoo.downloads import BUFFER_BYTES, download
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    LengthMismatchError,
    LocalError,
    NotFoundError,
    TransportError,
    ZooError,
)
from model_zoo.transport import Server
from tests.model_zoo.servers import answering, respond

GOOD = b"".join(bytes([i]) * BUFFER_BYTES for i in range(6)) + b"the end"
"""Over six buffers, no two alike, so that some are used again for other bytes."""
SHA256 = hashlib.sha256(GOOD).hexdigest()
OLDER = b"an earlier good file"


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


def fetch(url: str, to: Path, *, size_bytes: int = len(GOOD)) -> None:
    download(Server(url), "/file", to, size_bytes=size_bytes, sha256=SHA256)


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
    monkeypatch.setattr(downloads, "hashlib", SimpleNamespace(sha256=SlowDigest))
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
@pytest.mark.parametrize("chunked", [False, True])
def test_a_complete_body_of_another_length_is_refused(
    to: Path, body: bytes, *, chunked: bool
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if chunked:
            respond_in_chunks(request, [body] if body else [])
        else:
            respond(request, body)

    with (
        answering(answer) as url,
        unchanged(to),
        pytest.raises(LengthMismatchError, match=to.name),
    ):
        fetch(url, to)


def test_an_endless_body_is_cut_off_one_buffer_past_the_signed_length(
    to: Path,
) -> None:
    sent: list[int] = []
    hung_up = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        chunk = bytes(BUFFER_BYTES)
        try:
            while len(sent) < 1000:
                request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                sent.append(len(chunk))
        except OSError:
            hung_up.set()

    with answering(answer) as url, unchanged(to):
        with pytest.raises(LengthMismatchError, match="found more"):
            fetch(url, to)
        assert hung_up.wait(10)
    assert len(sent) < 1000


@pytest.mark.parametrize("kept", [0, 1, BUFFER_BYTES, len(GOOD) - 1])
def test_a_connection_that_breaks_off_may_be_tried_again(to: Path, kept: int) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, GOOD[:kept], length=len(GOOD))

    with (
        answering(answer) as url,
        unchanged(to),
        pytest.raises(TransportError, match=f"{kept} of {len(GOOD)} bytes"),
    ):
        fetch(url, to)


def test_a_chunk_that_breaks_off_may_be_tried_again(to: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"%x\r\n%s" % (len(GOOD), GOOD[:100]))
        request.close_connection = True

    with answering(answer) as url, unchanged(to), pytest.raises(TransportError):
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


def test_ctrl_c_leaves_nothing_behind(to: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with (
        answering(lambda request: respond(request, GOOD)) as url,
        unchanged(to),
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
from model_zoo.downloads import download
from model_zoo.errors import LocalError
from model_zoo.transport import Server
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


def respond_in_chunks(request: BaseHTTPRequestHandler, chunks: list[bytes]) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for chunk in (*chunks, b""):
        request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
