"""Look at a TUF repository from outside, as no client does: all of it, and twice.

A client reads what it needs and stops at the first wrong thing. This reads every
version, role and target there is, tells everything that is wrong, and watches what
changes while publishers publish.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import TargetFile

from model_zoo.clock import Clock
from model_zoo.errors import NotFoundError, VerificationError
from model_zoo.http.downloads import download
from model_zoo.http.hosts import is_loopback
from model_zoo.http.server import Server
from model_zoo.repository_checks.log_rules import LogReader, log_findings
from model_zoo.repository_checks.observe import Finding, Observer, Repository, failure
from model_zoo.repository_checks.path_rules import PATH_CHECKS
from model_zoo.repository_checks.rules import CHECKS, went_back
from model_zoo.transparency.client import log_reader
from model_zoo.tuf.fetcher import ServerFetcher
from model_zoo.tuf.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    WITHDRAWN,
    delegation_of,
    is_development,
)
from model_zoo.tuf.view import TARGETS_PATH, hashed_path

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much to check.

    Attributes:
        pinned: the root that clients of this zoo have; None checks without one.
        deep: download every target and hash it, instead of asking for its length.
        watch_seconds: how long to look again and again for what must not change.
    """

    pinned: bytes | None = None
    deep: bool = False
    watch_seconds: float = 0


def check_repository(server: Server, extent: Extent, *, clock: Clock) -> list[Finding]:
    """Return everything that is wrong with the repository at ``server``.

    Raises:
        TransportError: the service could not be reached.
        ZooError: it refuses to answer.
    """
    with ServerFetcher(server) as fetcher:
        log = LogReader.open(log_reader(fetcher, server.url))
        observer = Observer(fetcher, server.url.rstrip("/"))
        repository = observer.observe()
        findings = [
            *repository.findings,
            *(it for rule in CHECKS + PATH_CHECKS for it in rule(repository, clock())),
            *_pinned(repository, extent.pinned),
            *development_beyond_loopback(repository, server),
            *log_findings(log, repository),
            *_targets(repository, server, fetcher, deep=extent.deep),
            *_watched(observer, repository, extent.watch_seconds),
        ]
    return list(dict.fromkeys(findings))


def _pinned(repository: Repository, pinned: bytes | None) -> Iterator[Finding]:
    """The root that clients have is one of the chain."""
    if pinned is not None and pinned not in {it.data for it in repository.roots}:
        yield failure("other-root", ROOT, "the pinned root is not in this chain")


def development_beyond_loopback(
    repository: Repository, server: Server
) -> Iterator[Finding]:
    """A root whose keys all lie on one disk serves that one machine only."""
    if is_loopback(server.parts.hostname or ""):
        return
    for root in repository.roots:
        if is_development(root.signed):
            why = f"version {root.signed.version} is marked as a development root"
            yield failure("development-root", ROOT, why)


def _targets(
    repository: Repository, server: Server, fetcher: ServerFetcher, *, deep: bool
) -> Iterator[Finding]:
    """Every target that clients find lies under its hash and is as long as signed."""
    look = _downloaded if deep else _asked
    top = repository.roles.get(TARGETS)
    hidden = None if top is None else delegation_of(top.signed, WITHDRAWN)
    for name, role in repository.roles.items():
        for target in role.signed.targets.values():
            if hidden is not None and hidden.is_delegated_path(target.path):
                continue
            if "sha256" not in target.hashes:
                why = f"{target.path[:200]!a}: signed without a SHA-256"
                yield failure("target-no-sha256", name, why)
                continue
            wrong = look(target, server, fetcher)
            if wrong is not None:
                yield failure(wrong[0], name, f"{target.path[:200]!a}: {wrong[1]}")


def _asked(
    target: TargetFile, server: Server, fetcher: ServerFetcher
) -> tuple[str, str] | None:
    """Return a code and what is wrong with a target, going by what the server says."""
    url = f"{server.url.rstrip('/')}/{TARGETS_PATH}{quote(hashed_path(target))}"
    try:
        length = fetcher.length_bytes(url)
    except DownloadHTTPError:
        return "target-missing", "not served under its hash"
    if length != target.length:
        return "target-length", f"{target.length} bytes are signed, {length} served"
    return None


def _downloaded(
    target: TargetFile, server: Server, _: ServerFetcher
) -> tuple[str, str] | None:
    """Return a code and what is wrong with a target, going by all its bytes."""
    with TemporaryDirectory(prefix="zoo-check-") as folder:
        try:
            download(
                server,
                f"/{TARGETS_PATH}{quote(hashed_path(target))}",
                Path(folder) / "target",
                size_bytes=target.length,
                sha256=target.hashes["sha256"],
            )
        except NotFoundError:
            return "target-missing", "not served under its hash"
        except VerificationError as error:
            return "target-bytes", str(error)
    return None


def _watched(
    observer: Observer, before: Repository, seconds: float
) -> Iterator[Finding]:
    """Look again and again: every state is whole, and none takes an older one back."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        after = observer.observe(older_snapshots=0)
        yield from after.findings
        yield from moved_on(before, after)
        before = after


def moved_on(before: Repository, after: Repository) -> Iterator[Finding]:
    """Tell what a later look shows older, or other under the same version."""
    if len(after.roots) < len(before.roots):
        why = f"{len(before.roots)} versions were served, now {len(after.roots)}"
        yield failure("went-back", ROOT, why)
    for name, one, other in (
        (TIMESTAMP, before.timestamp, after.timestamp),
        (SNAPSHOT, before.snapshot, after.snapshot),
    ):
        if one is None or other is None:
            continue
        versions = one.signed.version, other.signed.version
        if versions[1] < versions[0]:
            why = f"from version {versions[0]} back to {versions[1]}"
            yield failure("went-back", name, why)
        elif versions[1] == versions[0] and one.data != other.data:
            why = f"version {versions[0]} was served with other bytes before"
            yield failure("rewritten", name, why)
    if before.snapshot is not None and after.snapshot is not None:
        yield from went_back(before.snapshot.signed, after.snapshot.signed)
