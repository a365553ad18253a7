"""From a pinned root to what the zoo vouches for now: our door to python-tuf's client.

python-tuf traverses root, timestamp, snapshot, targets and delegations. Here are its
cache, one per pinned root; its clock, which a test can set; its errors, raised as ours;
and what is kept so that the same traversal can be done later without a network. ADR 22.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.metadata import Root
from tuf.ngclient import FetcherInterface

from model_zoo.clock import Clock, system_clock
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    PolicyNotMetError,
    TransportError,
)
from model_zoo.files import translate_os_errors
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.hosts import is_loopback
from model_zoo.http.server import Server
from model_zoo.tuf.cache import own_cache
from model_zoo.tuf.fetcher import CheckedFetcher, MappingFetcher, ServerFetcher
from model_zoo.tuf.roles import is_development, our_key, parse
from model_zoo.tuf.view import (
    METADATA_PATH,
    TARGETS_PATH,
    TrustedZoo,
    ZooUpdater,
    translate_errors,
)

ROOT_VARIABLE = "ZOO_TRUST_ROOT"
OFFLINE = "offline:///"
MAX_ROOT_BYTES = 512_000
"""What stock clients read of a root."""
MAX_OVERTAKEN = 8


@contextmanager
def refreshed(
    server: Server,
    root: bytes,
    *,
    cache: Path,
    now: datetime,
    limits: DownloadLimits | None = None,
) -> Iterator[TrustedZoo]:
    """Yield what the zoo at ``server`` vouches for now, starting from a pinned root.

    Args:
        server: anyone; it is not believed.
        root: the pinned root, from somewhere else than the server.
        cache: takes a folder a pinned root: what was seen there is never unseen.
        now: the time that expiry is judged at.
        limits: how slow is too slow.

    Raises:
        VerificationError: a subclass for each way in which metadata cannot be believed.
        TransportError: it did not arrive.
        LocalError: the cache cannot be used.
    """
    shared = cache / sha256_bytes(root)[:32]
    with ServerFetcher(server, limits) as fetcher:
        for _ in range(MAX_OVERTAKEN):
            with own_cache(shared) as own:
                zoo = _traversed(server, fetcher, root, folder=own.folder, now=now)
                if not own.commit():
                    continue  # another process saw another state meanwhile
                try:
                    yield replace(zoo, memory=shared)
                finally:
                    own.commit()  # the roles that were looked up since
                return
    msg = f"{server.url}: overtaken by {MAX_OVERTAKEN} other processes, one by one"
    raise TransportError(msg)


def _traversed(
    server: Server,
    fetcher: FetcherInterface,
    root: bytes,
    *,
    folder: Path,
    now: datetime,
) -> TrustedZoo:
    """Return a view of the newest top-level roles; its cache is ``folder``."""
    base_url = server.url.rstrip("/") + "/"
    zoo = open_zoo(fetcher, base_url, root, folder=folder, now=now)
    _require_fit(zoo.root, server)
    with translate_errors():
        zoo.updater.refresh()
    _require_fit(zoo.root, server)
    _require_own_keyids(zoo)
    return zoo


@contextmanager
def offline(
    files: Mapping[str, bytes], root: bytes, *, now: datetime
) -> Iterator[TrustedZoo]:
    """Yield what the zoo vouched for when ``files`` were kept; no network is used.

    Args:
        files: what ``TrustedZoo.evidence`` returned, from anyone.
        root: the pinned root.
        now: the time that expiry is judged at.

    Raises:
        VerificationError: it cannot be believed, or is not all there.
    """
    fetcher = MappingFetcher({OFFLINE + name: data for name, data in files.items()})
    with TemporaryDirectory(prefix="zoo-offline-") as folder:
        zoo = open_zoo(fetcher, OFFLINE, root, folder=Path(folder), now=now)
        try:
            with translate_errors():
                zoo.updater.refresh()
            _require_own_keyids(zoo)
            yield zoo
        except TransportError as error:
            msg = f"the evidence beside the files is not whole: {error}"
            raise MalformedDocumentError(msg) from error


def read_root(path: Path) -> bytes:
    """Return the root in the file at ``path``.

    Raises:
        MalformedDocumentError: it is no root.
        LocalError: it cannot be read.
    """
    what = f"cannot read trust root {path}"
    with translate_os_errors(what), path.open("rb") as file:
        data = file.read(MAX_ROOT_BYTES + 1)
    return require_root(data, where=str(path))


def require_root(data: bytes, *, where: str) -> bytes:
    """Return ``data`` if it is a root, whoever signed it.

    Raises:
        MalformedDocumentError: it is none.
    """
    try:
        parse(data, Root)
    except MalformedDocumentError as error:
        msg = f"{where}: expected a trust root: {error}"
        raise MalformedDocumentError(msg) from error
    return data


def default_cache() -> Path:
    """Return where this user's view of every pinned zoo is remembered."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "verified-model-zoo" / "trust"


def open_zoo(
    fetcher: FetcherInterface,
    base_url: str,
    root: bytes,
    *,
    folder: Path,
    now: datetime,
) -> TrustedZoo:
    """Return a view that has yet to be refreshed: its root is pinned and no more.

    Args:
        fetcher: brings the files.
        base_url: below which TUF's paths lie.
        root: the pinned root.
        folder: the cache, which this view has to itself.
        now: the time that expiry is judged at.
    """
    with translate_errors():
        updater = ZooUpdater(
            str(folder),
            base_url + METADATA_PATH,
            target_base_url=base_url + TARGETS_PATH,
            fetcher=CheckedFetcher(fetcher),
            bootstrap=root,
        )
    updater.judge_expiry_at(now)
    return TrustedZoo(updater, base_url, fetcher, folder, folder, root, {})


def _require_own_keyids(zoo: TrustedZoo) -> None:
    """Accept keys under their own keyids only, Ed25519 all of them.

    TUF counts keyids: one key under two of them would meet a threshold of two alone.
    """
    delegations = zoo.targets.delegations
    delegated = {} if delegations is None else delegations.keys
    for key in (*zoo.root.keys.values(), *delegated.values()):
        our_key(key)


def _require_fit(root: Root, server: Server) -> None:
    """Accept a development root on loopback only: its keys lie on one disk."""
    if is_development(root) and not is_loopback(server.parts.hostname or ""):
        msg = (
            f"{server.url}: this trust root is marked as a development root, which is "
            "believed on this machine only; ask the operator for the real one"
        )
        raise PolicyNotMetError(msg)


def unpinned() -> InvalidSpecError:
    """Return the refusal to go on without a pinned root."""
    return InvalidSpecError(
        "no trust root is pinned: give --trust ROOT.json or set "
        f"{ROOT_VARIABLE}; take the root from the operator, not from the server"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A pinned root, from a file or the environment and never from the server."""

    root: bytes = field(repr=False)
    cache: Path = field(default_factory=default_cache)
    clock: Clock = system_clock

    @classmethod
    def load(cls, path: Path) -> "Anchor":
        """Return the anchor whose root is in the file at ``path``.

        Raises:
            VerificationError: it is no root.
            LocalError: it cannot be read.
        """
        return cls(root=read_root(path))

    def now(self) -> datetime:
        """Return the time that expiry is judged at."""
        return self.clock()

    @property
    def partials(self) -> Path:
        """Where downloads that broke off wait to be resumed."""
        return self.cache / "partial"

    @contextmanager
    def refreshed(self, server: Server) -> Iterator[TrustedZoo]:
        """Yield what the zoo at ``server`` vouches for now."""
        with refreshed(server, self.root, cache=self.cache, now=self.now()) as zoo:
            yield zoo
