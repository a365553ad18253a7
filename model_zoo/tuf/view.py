"""What one zoo vouches for at one moment, every byte of it signed."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import (
    Metadata,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import FetcherInterface, Updater

from model_zoo.errors import (
    ExpiredMetadataError,
    LengthMismatchError,
    MalformedDocumentError,
    NotFoundError,
    RollbackError,
    ThresholdNotMetError,
    TransportError,
    ZooError,
)
from model_zoo.files import translate_os_errors
from model_zoo.tuf.publisher_roles import PublisherRoles
from model_zoo.tuf.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    WITHDRAWN,
    delegation_of,
    parse,
    publisher_paths,
)
from model_zoo.tuf.trusted_keys import TrustedKeys

METADATA_PATH, TARGETS_PATH = "tuf/metadata/", "tuf/targets/"
MAX_SMALL_TARGET_BYTES = 4 * 1024 * 1024
"""Of a document that is held in memory; weights go by ``model_zoo.http.downloads``."""

_OURS: Mapping[type[Exception], type[ZooError]] = {
    tuf_errors.ExpiredMetadataError: ExpiredMetadataError,
    tuf_errors.BadVersionNumberError: RollbackError,
    tuf_errors.UnsignedMetadataError: ThresholdNotMetError,
    tuf_errors.DownloadLengthMismatchError: LengthMismatchError,
    tuf_errors.RepositoryError: MalformedDocumentError,
    tuf_errors.DownloadError: TransportError,
}
"""The first that fits: a subclass stands before its parent."""

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)


class ZooUpdater(Updater):
    """python-tuf's client, at a time of ours, which shows what it has verified.

    ngclient reads the system's clock, and hands out what it verified by target path
    only: both are in the set of metadata that it trusts.
    """

    def judge_expiry_at(self, now: datetime) -> None:
        """Take ``now`` for the time."""
        self._trusted_set.reference_time = now

    def verified(self, role: str) -> Any:  # noqa: ANN401  as python-tuf types it
        """Return the verified content of a role; None where it was not read."""
        return self._trusted_set.get(role)


@dataclass(frozen=True, slots=True)
class TrustedZoo:
    """What one zoo vouches for at one moment, every byte of it signed.

    Every method raises a VerificationError where metadata cannot be believed and
    TransportError where it did not arrive.

    Attributes:
        updater: python-tuf's client.
        base_url: below which TUF's paths lie.
        fetcher: brings the files.
        cache: where python-tuf keeps them; this view's alone.
        memory: where what was seen of the log is remembered; shared by processes.
        bootstrap: the pinned root.
        read: targets that were read, by the path they lie under.
    """

    updater: ZooUpdater
    base_url: str
    fetcher: FetcherInterface
    cache: Path
    memory: Path
    bootstrap: bytes
    read: dict[str, bytes]

    def target(self, path: str) -> TargetFile | None:
        """Return what the zoo says of a target; None where nobody vouches for it."""
        publisher = path.partition("/")[0]
        is_new = f"{publisher}.json" not in self._snapshot.meta
        if is_new and delegation_of(self.targets, publisher) is not None:
            return None  # delegated to, and has signed nothing yet
        with translate_errors():
            return self.updater.get_targetinfo(path)

    def read_target(self, path: str) -> bytes:
        """Return a small target, its length and digest as signed.

        Raises:
            NotFoundError: nobody vouches for it.
        """
        target = self.target(path)
        if target is None:
            msg = f"{path}: no role vouches for it"
            raise NotFoundError(msg)
        return self.fetch(target)

    def published(self, path: str) -> TargetFile | None:
        """Return what the publisher's own role says of a path, hidden or not.

        What the operator withdrew still stands in it; ``target`` stops before.
        """
        publisher = path.partition("/")[0]
        if delegation_of(self.targets, publisher) is None:
            return None
        return self.publisher(publisher).find(path)

    def fetch(self, target: TargetFile) -> bytes:
        """Return the bytes of a small target that a role vouches for.

        Raises:
            MalformedDocumentError: they are too many to be a document.
        """
        path = target.path
        if target.length > MAX_SMALL_TARGET_BYTES:
            msg = f"{path}: {target.length} bytes where a document is expected"
            raise MalformedDocumentError(msg)
        name = TARGETS_PATH + hashed_path(target)
        if name in self.read:
            return self.read[name]
        with translate_errors():
            data = self.fetcher.download_bytes(self.base_url + name, target.length)
            target.verify_length_and_hashes(data)
        self.read[name] = data
        return data

    def trusted_keys(self) -> TrustedKeys:
        """Return the keys that the root brings along; none where the zoo lists none."""
        if self.target(TRUSTED_KEYS) is None:
            return TrustedKeys()
        return TrustedKeys.read(self.read_target(TRUSTED_KEYS))

    def publisher(self, name: str) -> PublisherRoles:
        """Return the roles of a publisher, to build the next version from.

        Raises:
            NotFoundError: the operator delegated nothing to that name.
        """
        delegation = delegation_of(self._signed(TARGETS, Targets), name)
        if delegation is None:
            msg = f"no publisher {name}: the operator has not delegated to that name"
            raise NotFoundError(msg)
        known = f"{name}.json" in self._snapshot.meta
        if known:
            self.target(publisher_paths(name)[0].replace("*", "-"))
        keys = self._signed(TARGETS, Targets).delegations
        return PublisherRoles(
            delegation=delegation,
            keys={} if keys is None else keys.keys,
            role=self._cached(name, Targets) if known else None,
            load_bin=self._bin,
        )

    @property
    def timestamp(self) -> Timestamp:
        """The newest timestamp: how fresh this view is."""
        return self._signed(TIMESTAMP, Timestamp)

    @property
    def targets(self) -> Targets:
        """The top-level targets: who may publish, and what was withdrawn."""
        return self._signed(TARGETS, Targets)

    def cached_targets(self) -> Metadata[Targets]:
        """Return the top-level targets as a file: signatures and all."""
        return self._cached(TARGETS, Targets)

    def cached_withdrawn(self) -> Metadata[Targets] | None:
        """Return the role of what the operator withdrew; None if nothing ever was."""
        delegation = delegation_of(self.targets, WITHDRAWN)
        if delegation is None or not delegation.paths:
            return None
        self.target(delegation.paths[0].replace("*", "-"))
        return self._cached(WITHDRAWN, Targets)

    def delegated(self, name: str) -> Targets:
        """Return a delegated role that a look-up has led through."""
        return self._signed(name, Targets)

    def versions(self) -> dict[str, bytes]:
        """Return role -> file of every role that this view has read, timestamp apart.

        The transparency log has an entry for each but the snapshot.
        """
        read = self._all_verified()
        return {name: self._file(name) for name in read if name != TIMESTAMP}

    def require_alive(self, moment: datetime) -> None:
        """Accept what was read only if none of it had expired at ``moment``.

        Raises:
            ExpiredMetadataError: a role had.
        """
        for name, signed in self._all_verified().items():
            if signed.expires <= moment:
                msg = f"{name} expired at {signed.expires}, and the log is newer"
                raise ExpiredMetadataError(msg)

    def evidence(self) -> dict[str, bytes]:
        """Return URL path -> bytes of all that was read, for ``offline``."""
        files = dict(self.read)
        for name, signed in self._all_verified().items():
            prefix = "" if name == TIMESTAMP else f"{signed.version}."
            file = f"{METADATA_PATH}{prefix}{quote(name, '')}.json"
            files[file] = self._file(name)
        pinned = parse(self.bootstrap, Root).signed.version
        for version in range(pinned + 1, self.root.version + 1):
            kept = self.cache / "root_history" / f"{version}.root.json"
            with translate_errors():
                files[f"{METADATA_PATH}{version}.root.json"] = kept.read_bytes()
        return files

    @property
    def root(self) -> Root:
        """The newest root."""
        return self._signed(ROOT, Root)

    def _bin(self, name: str) -> Metadata[Targets]:
        """Load a bin: any path that falls into it leads there."""
        publisher = name.partition("~")[0]
        role = self._cached(publisher, Targets).signed
        bins = None if role.delegations is None else role.delegations.succinct_roles
        if bins is not None:
            with translate_errors():
                self.updater.get_targetinfo(_path_into(bins, name, publisher))
        return self._cached(name, Targets)

    def _all_verified(self) -> dict[str, Root | Targets | Snapshot | Timestamp]:
        """Return name -> role of all that was read; the snapshot names every other."""
        targets = (file.removesuffix(".json") for file in self._snapshot.meta)
        names = (ROOT, TIMESTAMP, SNAPSHOT, *targets)
        found = ((name, self.updater.verified(name)) for name in names)
        return {name: signed for name, signed in found if signed is not None}

    @property
    def _snapshot(self) -> Snapshot:
        return self._signed(SNAPSHOT, Snapshot)

    def _signed(self, name: str, kind: type[T]) -> T:
        signed = self.updater.verified(name)
        if not isinstance(signed, kind):
            msg = f"no {name} metadata was verified"
            raise MalformedDocumentError(msg)
        return signed

    def _file(self, name: str) -> bytes:
        """Return the verified file of a role; ngclient has just written it."""
        with translate_errors():
            return (self.cache / f"{quote(name, '')}.json").read_bytes()

    def _cached(self, name: str, kind: type[T]) -> Metadata[T]:
        if self.updater.verified(name) is None:
            msg = f"no {name} metadata was verified"
            raise MalformedDocumentError(msg)
        return parse(self._file(name), kind)


def hashed_path(target: TargetFile) -> str:
    """Return where the server keeps a target: consistent snapshots prefix its hash."""
    folder, _, name = target.path.rpartition("/")
    return f"{folder}/{sha256_of(target)}.{name}"


def sha256_of(target: TargetFile) -> str:
    """Return a target's signed SHA-256.

    Raises:
        MalformedDocumentError: it is signed under another algorithm only.
    """
    if "sha256" not in target.hashes:
        msg = f"{target.path}: signed without a SHA-256"
        raise MalformedDocumentError(msg)
    return target.hashes["sha256"]


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise python-tuf's errors as ours."""
    try:
        with translate_os_errors("cannot keep trust metadata"):
            yield
    except (tuf_errors.RepositoryError, tuf_errors.DownloadError) as error:
        kind = next(ours for theirs, ours in _OURS.items() if isinstance(error, theirs))
        msg = f"trust metadata: {error}"
        raise kind(msg) from error
    except ValueError as error:
        msg = f"trust metadata: {error}"
        raise MalformedDocumentError(msg) from error


def _path_into(bins: SuccinctRoles, name: str, publisher: str) -> str:
    """Return a path that falls into the bin called ``name``: any will do."""
    paths = (f"{publisher}/-/-/{number}" for number in itertools.count())
    return next(path for path in paths if bins.get_role_for_target(path) == name)
