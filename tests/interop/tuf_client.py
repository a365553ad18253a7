"""The command line that TUF's conformance suite drives, in front of our client.

The suite starts it by its path, from a folder of its own. It has a repository layout of
its own, too, so its URLs are put where our client looks. How to run it is in
``docs/how-to/run-tuf-conformance.md``.

Source: theupdateframework/tuf-conformance, CLIENT-CLI.md.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface

from model_zoo.clock import system_clock
from model_zoo.errors import LocalError, NotFoundError, ZooError
from model_zoo.http.downloads import download
from model_zoo.http.server import Server
from model_zoo.tuf.fetcher import ServerFetcher
from model_zoo.tuf.updater import OFFLINE, open_zoo, read_root
from model_zoo.tuf.view import (
    METADATA_PATH,
    TARGETS_PATH,
    TrustedZoo,
    hashed_path,
    translate_errors,
)

PINNED = "pinned-root"
"""Beside the client's own files, whose names the suite knows by their ``.json``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the suite; 0 where it succeeded, else 1."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except ZooError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tuf_client.py")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-base-url", default="")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(required=True)
    init = commands.add_parser("init")
    init.add_argument("trusted_root", type=Path)
    init.set_defaults(run=_init)
    commands.add_parser("refresh").set_defaults(run=_refresh)
    commands.add_parser("download").set_defaults(run=_download)
    return parser


def _init(given: argparse.Namespace) -> None:
    """Keep the root that every later command starts from.

    Raises:
        LocalError: it cannot be copied.
    """
    try:
        for name in (PINNED, "root.json"):
            shutil.copyfile(given.trusted_root, given.metadata_dir / name)
    except OSError as error:
        msg = f"cannot keep the trusted root: {error}"
        raise LocalError(msg) from error


def _refresh(given: argparse.Namespace) -> None:
    with _refreshed(given):
        pass


def _download(given: argparse.Namespace) -> None:
    """Bring every target, in order; one that is there already is not asked for.

    Raises:
        NotFoundError: no role vouches for a target of that name.
    """
    with _refreshed(given) as zoo:
        for name in given.target_name:
            target = zoo.target(name)
            if target is None:
                msg = f"{name}: no role vouches for it"
                raise NotFoundError(msg)
            _bring(zoo, target, given)


@contextmanager
def _refreshed(given: argparse.Namespace) -> Iterator[TrustedZoo]:
    with closing(_SuiteFetcher(given)) as fetcher:
        root = read_root(given.metadata_dir / PINNED)
        zoo = open_zoo(
            fetcher, OFFLINE, root, folder=given.metadata_dir, now=system_clock()
        )
        with translate_errors():
            zoo.updater.refresh()
        yield zoo


class _SuiteFetcher(FetcherInterface):
    """Finds the suite's metadata and targets where our zoo would keep its own."""

    def __init__(self, given: argparse.Namespace) -> None:
        host = urlsplit(given.metadata_url)._replace(path="").geturl()
        self._fetcher = ServerFetcher(Server(host))
        self.close = self._fetcher.close
        self._places: Mapping[str, str] = {
            OFFLINE + METADATA_PATH: given.metadata_url.rstrip("/") + "/",
            OFFLINE + TARGETS_PATH: given.target_base_url.rstrip("/") + "/",
        }

    def _fetch(self, url: str) -> Iterator[bytes]:
        for ours, theirs in self._places.items():
            if url.startswith(ours):
                return self._fetcher.fetch(theirs + url.removeprefix(ours))
        msg = f"{url} is no file of a zoo"
        raise NotFoundError(msg)


def _bring(zoo: TrustedZoo, target: TargetFile, given: argparse.Namespace) -> None:
    """Put ``target`` into the suite's folder, by our own downloader.

    Targets without a SHA-256, which our zoo never signs, go python-tuf's way.
    """
    to = given.target_dir / quote(target.path, safe="")
    with translate_errors():
        if zoo.updater.find_cached_target(target, str(to)) is not None:
            return
        if "sha256" not in target.hashes:
            zoo.updater.download_target(target, str(to))
            return
    path = hashed_path(target) if zoo.root.consistent_snapshot else target.path
    download(
        Server(given.target_base_url),
        "/" + quote(path.lstrip("/")),
        to,
        size_bytes=target.length,
        sha256=target.hashes["sha256"],
    )


if __name__ == "__main__":
    sys.exit(main())
