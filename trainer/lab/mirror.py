"""A mutable index page and file host, of the kind that the paper found everywhere.

It serves a folder over HTTP and HTTPS and checks nothing: whoever may write the
folder decides what its visitors get. The zoo's own read API is laid out in it as
files, so that the real client can be pointed at it too.

Run as ``python -m trainer.lab.mirror ROOT READY_FILE CHAIN KEY``.
"""

import hashlib
import json
import os
import shutil
import ssl
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import (
    BaseHTTPRequestHandler,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from pathlib import Path

from model_zoo.canonical import JsonObject
from model_zoo.digests import sha256_file
from model_zoo.folders import manifest_of
from model_zoo.keys import PublicKey
from model_zoo.names import ReleaseName
from trainer.attempt import MODEL
from trainer.lab.pages import Page

INDEX = "index.json"
README = "readme.md"


def page_path(root: Path, name: ReleaseName) -> Path:
    """Return where the page of ``name`` lies."""
    return root / name.publisher / name.model / README


def hosted_path(root: Path, name: ReleaseName) -> Path:
    """Return where the weights of ``name`` lie for readers of the page."""
    return root / "files" / name.publisher / name.model / name.version / MODEL


def api_path(root: Path, name: ReleaseName) -> Path:
    """Return the folder that answers for the zoo's read API."""
    model = root / "api" / "v1" / "models" / name.publisher / name.model
    return model / "releases" / name.version


def page_of(
    weights: Path, *, name: ReleaseName, model_url: str, key: PublicKey
) -> Page:
    """Return the page that describes the file ``weights`` truthfully."""
    return Page(
        name=str(name),
        model_url=model_url,
        # SHA-1 because the script of the time knew no other digest.
        sha1=hashlib.sha1(weights.read_bytes(), usedforsecurity=False).hexdigest(),
        sha256=sha256_file(weights),
        publisher_key=key.raw.hex(),
    )


def lay_out(root: Path, *, release: JsonObject, files: Path, key: PublicKey) -> None:
    """Fill an empty mirror from a release of the zoo.

    Args:
        root: the folder that the mirror serves; what is in it is removed.
        release: the release as the zoo's API gives it.
        files: the folder of the release's files.
        key: the publisher's key, shown on the page.
    """
    shutil.rmtree(root, ignore_errors=True)
    name = ReleaseName.parse(release["name"])
    hosted = hosted_path(root, name)
    hosted.parent.mkdir(parents=True)
    shutil.copyfile(files / MODEL, hosted)
    api = api_path(root, name)
    (api / "files").mkdir(parents=True)
    (api / INDEX).write_text(json.dumps(release))
    for file in manifest_of(files).files:
        shutil.copyfile(files / file.name, api / "files" / file.name)
    page = page_of(
        hosted,
        name=name,
        model_url=f"../../files/{name.publisher}/{name.model}/{name.version}/{MODEL}",
        key=key,
    )
    path = page_path(root, name)
    path.parent.mkdir(parents=True)
    path.write_text(page.render())


class _FolderHandler(SimpleHTTPRequestHandler):
    """Files as they lie there; a folder answers with its ``index.json``."""

    def translate_path(self, path: str) -> str:
        found = super().translate_path(path)
        index = os.path.join(found, INDEX)  # noqa: PTH118  the base class's own kind
        return index if os.path.isfile(index) else found  # noqa: PTH113  likewise

    def log_message(self, *_: object) -> None:
        """Keep quiet: the laboratory tells the story."""


def tls_context(chain: Path, key: Path) -> ssl.SSLContext:
    """Return a server's TLS settings with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def serve_twice(
    handler: Callable[..., BaseHTTPRequestHandler],
    *,
    context: ssl.SSLContext,
    ready_file: Path,
) -> None:
    """Serve with and without TLS on two free loopback ports; write their URLs."""
    plain = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    secure = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    urls = {
        "url": f"http://127.0.0.1:{plain.server_port}",
        "tls_url": f"https://127.0.0.1:{secure.server_port}",
    }
    unfinished = ready_file.with_suffix(".part")
    unfinished.write_text(json.dumps(urls))
    unfinished.replace(ready_file)
    secure.serve_forever()


def main() -> None:
    """Serve until told to end."""
    root, ready_file, chain, key = map(Path, sys.argv[1:])
    handler = partial(_FolderHandler, directory=str(root))
    serve_twice(handler, context=tls_context(chain, key), ready_file=ready_file)


if __name__ == "__main__":
    main()
