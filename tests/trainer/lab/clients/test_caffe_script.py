"""The script of 2017 and its defects, each shown on a real host."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainer.lab.actors.pages import Page, read_page
from trainer.lab.clients.caffe_script import download_model

GOOD = b"the weights that the page describes"
BAD = b"other weights, put in their place  "


class Host:
    """A folder on a loopback port, which the test may write."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.page_url = f"{url}/readme.md"

    def write(self, *, weights: bytes, sha1: str) -> None:
        page = Page(
            name="alice/digits@1",
            model_url="model.bin",
            sha1=sha1,
            sha256="",
            publisher_key="",
        )
        (self.root / "readme.md").write_text(page.render())
        (self.root / "model.bin").write_bytes(weights)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    root = tmp_path / "host"
    root.mkdir()
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(root))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Host(root, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def test_an_honest_page_and_file_pass(host: Host, tmp_path: Path) -> None:
    host.write(weights=GOOD, sha1=_sha1(GOOD))
    assert download_model(host.page_url, tmp_path / "got") == 0
    assert (tmp_path / "got").read_bytes() == GOOD


def test_a_page_without_a_digest_is_downloaded_without_a_word(
    host: Host, tmp_path: Path
) -> None:
    host.write(weights=BAD, sha1="")
    assert download_model(host.page_url, tmp_path / "got") == 0


def test_who_edits_the_page_edits_the_digest_too(host: Host, tmp_path: Path) -> None:
    host.write(weights=BAD, sha1=_sha1(BAD))
    assert download_model(host.page_url, tmp_path / "got") == 0


def test_a_wrong_digest_exits_1_and_leaves_the_bad_file_in_place(
    host: Host, tmp_path: Path
) -> None:
    host.write(weights=BAD, sha1=_sha1(GOOD))
    assert download_model(host.page_url, tmp_path / "got") == 1
    assert (tmp_path / "got").read_bytes() == BAD


def test_a_page_cannot_make_its_reader_run_code() -> None:
    text = (
        "---\nname: !!python/object/apply:os.system ['true']\nmodel_url: m\n"
        "sha1: \nsha256: s\npublisher_key: k\n---\n"
    )
    assert read_page(text).name.startswith("!!python")


@pytest.mark.parametrize("text", ["", "no front matter", "---\nname: alone\n---\n"])
def test_a_page_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="front matter"):
        read_page(text)
