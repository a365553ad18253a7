"""What a TUF repository serves right now, read as a stranger reads it.

Nothing is believed here and nothing is judged but whether a file is there, is the one
that was named, and can be read in one way only. The rules are in
``model_zoo.repository_checks.rules``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar
from urllib.parse import quote

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import (
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
)
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, UpdaterConfig

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.errors import MalformedDocumentError
from model_zoo.tuf.roles import (
    MAX_METADATA_BYTES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    parse,
)
from model_zoo.tuf.trusted_keys import MAX_TRUSTED_KEYS_BYTES, TrustedKeys
from model_zoo.tuf.view import METADATA_PATH, TARGETS_PATH, hashed_path

MAX_OLDER_SNAPSHOTS = 32
ROOTS_LOOKED_AHEAD = 3
"""Past the newest root found: a gap of up to two is why from the end of the chain."""

_STOCK = UpdaterConfig()
"""What unmodified clients read at most; a longer file is no file to them."""

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)


class Severity(StrEnum):
    """Whether clients are refused or put at risk, or will be if nobody acts."""

    FAILURE = "failure"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a repository."""

    severity: Severity
    code: str
    role: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code} {self.role}: {self.message}"

    def to_object(self) -> JsonObject:
        """Return the finding as JSON values."""
        return {
            "severity": str(self.severity),
            "code": self.code,
            "role": self.role,
            "message": self.message,
        }


def failure(code: str, role: str, message: str) -> Finding:
    """Return a finding that makes the check fail."""
    return Finding(Severity.FAILURE, code, role, message)


def warning(code: str, role: str, message: str) -> Finding:
    """Return a finding that somebody should act on before it fails."""
    return Finding(Severity.WARNING, code, role, message)


@dataclass(frozen=True, slots=True)
class RoleFile(Generic[T]):
    """One file of metadata: its bytes and what they say, no signature checked."""

    name: str
    data: bytes
    metadata: Metadata[T]

    @property
    def signed(self) -> T:
        """What the signatures are over."""
        return self.metadata.signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One consistent state, as far as it could be read.

    Attributes:
        roots: versions 1 to N, without those that could not be read.
        roles: every targets role that the snapshot names and that could be read.
        older: earlier snapshots that are still served, the newest first.
        trusted: the keys that the root brings along; none where none could be read.
        findings: what could not be read, and why.
    """

    roots: tuple[RoleFile[Root], ...]
    timestamp: RoleFile[Timestamp] | None
    snapshot: RoleFile[Snapshot] | None
    roles: Mapping[str, RoleFile[Targets]]
    older: tuple[RoleFile[Snapshot], ...]
    trusted: TrustedKeys
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class Observer:
    """Reads one repository, again and again; what never changes is read once.

    Attributes:
        fetcher: how to get a file below ``url``.
        url: the service's, without a last slash.
        findings: what could not be read since the last ``observe``.
    """

    fetcher: FetcherInterface
    url: str
    findings: list[Finding] = field(default_factory=list)
    _kept: dict[tuple[str, str | None], bytes] = field(default_factory=dict)

    def observe(self, *, older_snapshots: int = MAX_OLDER_SNAPSHOTS) -> Repository:
        """Return the present state, starting from the timestamp as clients do.

        Raises:
            ZooError: the service cannot be reached or refuses to answer.
        """
        self.findings = []
        roots = tuple(self._roots())
        timestamp = self._current_timestamp()
        snapshot = None if timestamp is None else self._current_snapshot(timestamp)
        roles = {} if snapshot is None else dict(self._roles(snapshot))
        older = () if snapshot is None else self._older(snapshot, older_snapshots)
        return Repository(
            roots=roots,
            timestamp=timestamp,
            snapshot=snapshot,
            roles=roles,
            older=tuple(older),
            trusted=self._trusted_keys(roles),
            findings=tuple(self.findings),
        )

    def _roots(self) -> Iterator[RoleFile[Root]]:
        """Yield version 1 and every later one, telling of gaps."""
        newest, version = 0, 1
        while version <= newest + ROOTS_LOOKED_AHEAD:
            data = self._bytes(f"{version}.{ROOT}.json", _STOCK.root_max_length)
            if data is not None:
                for gap in range(newest + 1, version):
                    self._fail("root-gap", ROOT, f"version {gap} is not served")
                newest = version
                file = self._parsed(ROOT, data, Root, version=version)
                if file is not None:
                    yield file
            version += 1
        if newest == 0:
            self._fail("root-gap", ROOT, "version 1 is not served")

    def _current_timestamp(self) -> RoleFile[Timestamp] | None:
        data = self._fresh(f"{TIMESTAMP}.json", _STOCK.timestamp_max_length)
        if data is None:
            self._fail("missing", TIMESTAMP, "it is not served")
            return None
        return self._parsed(TIMESTAMP, data, Timestamp, version=None)

    def _current_snapshot(
        self, timestamp: RoleFile[Timestamp]
    ) -> RoleFile[Snapshot] | None:
        return self._named(
            SNAPSHOT,
            timestamp.signed.snapshot_meta,
            Snapshot,
            limit_bytes=_STOCK.snapshot_max_length,
        )

    def _roles(
        self, snapshot: RoleFile[Snapshot]
    ) -> Iterator[tuple[str, RoleFile[Targets]]]:
        for file_name, meta in snapshot.signed.meta.items():
            name = file_name.removesuffix(".json")
            file = self._named(
                name, meta, Targets, limit_bytes=_STOCK.targets_max_length
            )
            if file is not None:
                yield name, file

    def _older(
        self, snapshot: RoleFile[Snapshot], count: int
    ) -> Iterator[RoleFile[Snapshot]]:
        newest = snapshot.signed.version
        for version in range(newest - 1, max(0, newest - 1 - count), -1):
            data = self._bytes(f"{version}.{SNAPSHOT}.json", _STOCK.snapshot_max_length)
            if data is None:
                return
            file = self._parsed(SNAPSHOT, data, Snapshot, version=version)
            if file is not None:
                yield file

    def _trusted_keys(self, roles: Mapping[str, RoleFile[Targets]]) -> TrustedKeys:
        top = roles.get(TARGETS)
        target = None if top is None else top.signed.targets.get(TRUSTED_KEYS)
        if target is None:
            return TrustedKeys()
        url = f"{self.url}/{TARGETS_PATH}{hashed_path(target)}"
        try:
            data = self.fetcher.download_bytes(url, MAX_TRUSTED_KEYS_BYTES)
            return TrustedKeys.read(data)
        except (DownloadHTTPError, MalformedDocumentError) as error:
            self._fail("trusted-keys", TARGETS, f"{TRUSTED_KEYS}: {error}")
            return TrustedKeys()

    def _named(
        self, name: str, meta: MetaFile, kind: type[T], *, limit_bytes: int
    ) -> RoleFile[T] | None:
        """Return the file that ``meta`` names, if it is there and is that one."""
        version = f"version {meta.version}"
        data = self._bytes(
            f"{meta.version}.{quote(name, safe='')}.json", meta.length or limit_bytes
        )
        if data is None:
            self._fail("missing", name, f"{version} is named and not served")
            return None
        try:
            meta.verify_length_and_hashes(data)
        except LengthOrHashMismatchError as error:
            self._fail("wrong-bytes", name, f"{version}: {error}")
        return self._parsed(name, data, kind, version=meta.version)

    def _parsed(
        self, name: str, data: bytes, kind: type[T], *, version: int | None
    ) -> RoleFile[T] | None:
        try:
            file = RoleFile(name, data, parse(data, kind))
            spelled = _canonical(data)
        except MalformedDocumentError as error:
            self._fail("malformed", name, str(error))
            return None
        except FormatError as error:
            self._fail("not-canonical", name, f"no canonical JSON: {error}")
            return None
        if spelled != file.metadata.signed_bytes:
            self._fail("not-canonical", name, "readers would not agree on the bytes")
        if version is not None and file.signed.version != version:
            why = f"the file named {version} holds {file.signed.version}"
            self._fail("wrong-version", name, why)
        return file

    def _bytes(self, file_name: str, limit_bytes: int) -> bytes | None:
        """Return a file whose name holds its version: read once, since it stays."""
        key = (file_name, None)
        if key not in self._kept:
            data = self._fresh(file_name, limit_bytes)
            if data is None:
                return None
            self._kept[key] = data
        return self._kept[key]

    def _fresh(self, file_name: str, limit_bytes: int) -> bytes | None:
        """Return the file, or None where there is none or one too long to read."""
        url = f"{self.url}/{METADATA_PATH}{file_name}"
        try:
            return self.fetcher.download_bytes(url, limit_bytes)
        except DownloadHTTPError:
            return None
        except DownloadLengthMismatchError:
            why = f"{file_name}: longer than the {limit_bytes} bytes clients read"
            self._fail("too-long", file_name, why)
            return None

    def _fail(self, code: str, role: str, message: str) -> None:
        self.findings.append(failure(code, role, message))


def _canonical(data: bytes) -> bytes:
    """Return what any TUF client checks the signatures over.

    Raises:
        FormatError: the file holds a float, which canonical JSON cannot spell.
    """
    document = parse_object(data, limit_bytes=MAX_METADATA_BYTES)
    return str(encode_canonical(document["signed"])).encode()
