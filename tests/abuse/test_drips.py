"""Every way to keep a client for ever, on every kind of answer that it waits for."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from model_zoo.audit.remote import remote_digests
from model_zoo.client import trusted_pull
from model_zoo.errors import TransportError, VerificationError
from model_zoo.http import sse as events
from model_zoo.http.client import HttpClient
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.downloads import Downloader
from model_zoo.http.server import Server
from model_zoo.http.sse import follow
from model_zoo.http.transport import Transport
from model_zoo.tuf.fetcher import ServerFetcher
from model_zoo.tuf.updater import refreshed
from model_zoo.tuf.view import translate_errors
from tests.model_zoo.drips import DRIPS, LENGTH, dripping
from tests.model_zoo.tuf.repositories import NOW, good_repository

LIMITS = DownloadLimits(
    connect_seconds=0.2,
    head_seconds=0.2,
    answer_seconds=0.5,
    window_seconds=0.1,
    silence_seconds=0.2,
    pauses_seconds=(0, 0),
)
SHA256 = hashlib.sha256(b"").hexdigest()
JOB = "0" * 32
HAVE = b"the first bytes"
MANY = 5_000_000
"""Bytes: what python-tuf reads of a role at most."""

Ask = Callable[[str, Path], object]


def metadata(url: str, _: Path) -> object:
    return _transport(url).get("/models")


def length(url: str, _: Path) -> object:
    return _transport(url).length_bytes(f"/blobs/{SHA256}")


def containing_releases(url: str, _: Path) -> object:
    return trusted_pull.containing_releases(_transport(url), SHA256)


def tuf_metadata(url: str, folder: Path) -> object:
    root = good_repository().files["/tuf/metadata/1.root.json"]
    with refreshed(Server(url), root, cache=folder, now=NOW, limits=LIMITS) as zoo:
        return zoo


def tuf_target(url: str, _: Path) -> object:
    with ServerFetcher(Server(url), LIMITS) as fetcher, translate_errors():
        return fetcher.download_bytes(f"{url}/tuf/targets/a", MANY)


def target_length(url: str, _: Path) -> object:
    with ServerFetcher(Server(url), LIMITS) as fetcher:
        return fetcher.length_bytes(f"{url}/tuf/targets/a")


def blob(url: str, folder: Path) -> object:
    Downloader(HttpClient(Server(url), LIMITS)).fetch(
        "/f", folder / "f", size_bytes=LENGTH, sha256=SHA256
    )
    return None


def rest_of_a_blob(url: str, folder: Path) -> object:
    (folder / f".{SHA256}.0.part").write_bytes(HAVE)
    return blob(url, folder)


def stored(url: str, _: Path) -> object:
    _transport(url).put_bytes("/uploads/x", bytes(1000), headers={})
    return None


def story(url: str, _: Path) -> object:
    return list(follow(_transport(url), JOB))


def digest_elsewhere(url: str, _: Path) -> object:
    return remote_digests(f"{url}/f", ["sha256"], limit_bytes=MANY, limits=LIMITS)


ASKS: dict[str, Ask] = {
    it.__name__: it
    for it in (
        metadata,
        length,
        containing_releases,
        tuf_metadata,
        tuf_target,
        target_length,
        blob,
        rest_of_a_blob,
        stored,
        story,
        digest_elsewhere,
    )
}
ONLY_A_HEAD = {"length", "target_length"}
"""Of these the answer ends with its head: nothing that follows is read."""
STATUS = {
    "rest_of_a_blob": b"HTTP/1.1 206 Partial Content\r\n"
    + b"Content-Range: bytes %d-%d/%d\r\n" % (len(HAVE), LENGTH - 1, LENGTH)
}


def _transport(url: str) -> Transport:
    return Transport(Server(url), LIMITS)


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("way", DRIPS)
def test_no_server_keeps_its_client(
    way: str, ask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)
    with dripping(DRIPS[way], status=STATUS.get(ask)) as adversary:
        try:
            ASKS[ask](adversary.url, tmp_path)
        except (TransportError, VerificationError):
            pass
        else:
            assert ask in ONLY_A_HEAD
        assert not adversary.ran_out.is_set()
