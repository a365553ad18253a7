"""``trust.json``: all that a pinned root vouched for, kept to be checked off line.

ADR 22.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from tuf.api.metadata import Timestamp

from model_zoo.clock import CLOCK_SKEW, from_rfc3339
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.errors import (
    ExpiredMetadataError,
    InvalidSpecError,
    MalformedDocumentError,
    NotFoundError,
    PolicyNotMetError,
    WrongReleaseError,
)
from model_zoo.files import read_plain, write_beside
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import EVIDENCE_NAME, entries
from model_zoo.statements.policy import Policy
from model_zoo.transparency.client import (
    LogEvidence,
    LogTrust,
    WitnessedLog,
    gather_evidence,
    log_reader,
    verify_evidence,
)
from model_zoo.transparency.tlog import LogEntry
from model_zoo.tuf.releases import ContainingReleases, TrustedRelease, trusted_release
from model_zoo.tuf.roles import SIGNED_AT, SNAPSHOT, TIMESTAMP, parse, version_of
from model_zoo.tuf.updater import offline
from model_zoo.tuf.view import METADATA_PATH, TrustedZoo

MAX_EVIDENCE_BYTES = 32 * 1024 * 1024
MAX_EVIDENCE_FILES = 1024
"""Of 256 files and 64 ancestors each has at most a bin and an entry in the index."""


class Evidence(Document):
    """The files that a traversal from the root read, and the log's proof of them.

    ``files`` maps the path below the zoo's URL to base64; ``holders`` is what the zoo
    said of who holds which file, verified in that traversal.
    """

    format: Literal[1] = 1
    release: str
    files: Annotated[dict[str, str], Field(max_length=MAX_EVIDENCE_FILES)]
    holders: dict[str, tuple[str, ...]]
    log: dict[str, Any] | None = None

    def to_files(self) -> dict[str, bytes]:
        """Return path -> bytes.

        Raises:
            MalformedDocumentError: not base64.
        """
        try:
            return {
                path: base64.b64decode(text, validate=True)
                for path, text in self.files.items()
            }
        except (binascii.Error, ValueError) as error:
            msg = f"{EVIDENCE_NAME}: not base64: {error}"
            raise MalformedDocumentError(msg) from error


def gather(
    zoo: TrustedZoo,
    name: ReleaseName,
    *,
    policy: Policy,
    containing_releases: ContainingReleases,
    now: datetime,
) -> tuple[TrustedRelease, Evidence, "VerifiedAt"]:
    """Return a release that the zoo vouches for, what proves it later, and as of when.

    Raises:
        VerificationError: a subclass for each way in which it does not hold.
        NotFoundError: no role vouches for such a release.
        TransportError: something did not arrive.
    """
    said: dict[str, tuple[str, ...]] = {}

    def remembered(sha256: str) -> list[ReleaseName]:
        names = list(containing_releases(sha256))
        said[sha256] = tuple(str(it) for it in names)
        return names

    release = trusted_release(zoo, name, policy=policy, containing_releases=remembered)
    trust = log_trust(zoo, policy)
    log = None
    if trust is not None:
        log = gather_evidence(
            log_reader(zoo.fetcher, zoo.base_url),
            logged(zoo),
            trust=trust,
            cache=zoo.memory,
            now=now,
        )
    evidence = _evidence(zoo, name, holders=said, log=log)
    return release, evidence, _verified_at(zoo, evidence, policy=policy, now=now)


def _evidence(
    zoo: TrustedZoo,
    name: ReleaseName,
    *,
    holders: dict[str, tuple[str, ...]],
    log: LogEvidence | None,
) -> Evidence:
    files = {
        path: base64.b64encode(data).decode("ascii")
        for path, data in sorted(zoo.evidence().items())
    }
    try:
        return Evidence(
            release=str(name),
            files=files,
            holders=holders,
            log=None if log is None else log.to_object(),
        )
    except ValueError as error:
        msg = f"{name}: over {MAX_EVIDENCE_FILES} files prove it, more than are kept"
        raise MalformedDocumentError(msg) from error


def verify(
    evidence: Evidence,
    root: bytes,
    *,
    name: ReleaseName | None,
    policy: Policy,
    now: datetime,
) -> tuple[TrustedRelease, "VerifiedAt"]:
    """Return the release that ``evidence`` proves, and as of when.

    Expiry is judged at the newest moment that somebody other than the folder's owner
    attests: a witness, or else the zoo's own timestamp.

    Raises:
        ExpiredMetadataError: that moment is longer ago than the policy allows.
        VerificationError: a subclass for each other way in which it does not hold.
    """
    if name is not None and evidence.release != str(name):
        raise WrongReleaseError.of(expected=str(name), found=evidence.release)
    files = evidence.to_files()
    # (1) The traversal from the root holds at the moment that the zoo signed it.
    with offline(files, root, now=_claimed(files)) as zoo:
        wanted = name or _release(evidence.release)
        said = {
            sha256: [_release(it) for it in names]
            for sha256, names in evidence.holders.items()
        }
        try:
            release = trusted_release(
                zoo,
                wanted,
                policy=policy,
                containing_releases=lambda sha256: said.get(sha256, []),
            )
        except NotFoundError as error:
            msg = f"{EVIDENCE_NAME} does not prove it: {error}"
            raise MalformedDocumentError(msg) from error
        # (2) The log has every role that was read, and the witnesses saw that log.
        # (3) At the moment that they attest, nothing had expired.
        verified_at = _verified_at(zoo, evidence, policy=policy, now=now)
    # (4) That is not too long ago, and not in the future.
    verified_at.require_fresh(policy, now=now)
    return release, verified_at


class VerifiedAt(Document):
    """As of when a folder was verified, and whether a witness says so."""

    as_of: datetime
    witnessed: bool

    def require_fresh(self, policy: Policy, *, now: datetime) -> None:
        """Accept a moment that is young enough for the policy.

        Raises:
            ExpiredMetadataError: it is not, or it lies ahead of this clock.
        """
        age = now - self.as_of
        allowed = policy.max_age
        if age < -CLOCK_SKEW:
            msg = (
                f"the evidence is of {self.as_of:%Y-%m-%d %H:%M} UTC and this "
                f"machine's clock says {now:%Y-%m-%d %H:%M}: set the clock"
            )
            raise ExpiredMetadataError(msg)
        if age > allowed:
            msg = (
                f"the evidence is of {self.as_of:%Y-%m-%d %H:%M} UTC, older than the "
                f"{allowed} that the policy allows: pull it again"
            )
            raise ExpiredMetadataError(msg)


def log_trust(zoo: TrustedZoo, policy: Policy) -> LogTrust | None:
    """Return whose log and witnesses count; None where the zoo has no log.

    Raises:
        PolicyNotMetError: the policy asks for cosignatures that cannot be had.
    """
    keys = zoo.trusted_keys()
    if not keys.log:
        if policy.cosignatures:
            msg = "the policy asks for cosignatures and this zoo has no log"
            raise PolicyNotMetError(msg)
        return None
    witnesses = keys.witness_keys()
    if policy.cosignatures > len(witnesses):
        msg = (
            f"the policy asks for {policy.cosignatures} cosignatures and the zoo's "
            f"trusted keys list {len(witnesses)} witnesses"
        )
        raise PolicyNotMetError(msg)
    try:
        return LogTrust(
            origin=keys.log_origin,
            keys=keys.log_keys(),
            retired=keys.retired_log_keys(),
            witnesses=witnesses,
            cosignatures=policy.cosignatures,
        )
    except InvalidSpecError as error:
        msg = f"trusted keys: {error}"
        raise MalformedDocumentError(msg) from error


def logged(zoo: TrustedZoo) -> list[LogEntry]:
    """Return the log's entry of every role version that a view has read.

    Raises:
        MalformedDocumentError: a role has a name or a version that no log takes.
    """
    versions = zoo.versions()
    try:
        return [
            LogEntry(
                kind="metadata",
                name=name,
                version=version_of(name, data),
                sha256=sha256_bytes(data),
            )
            for name, data in sorted(versions.items())
            if name not in {SNAPSHOT, TIMESTAMP}
        ]
    except ValueError as error:
        msg = f"a role that no log could have: {error}"
        raise MalformedDocumentError(msg) from error


def signed_at_of(timestamp: Timestamp) -> datetime:
    """Return when the zoo signed a timestamp.

    Raises:
        MalformedDocumentError: it does not say, or not in which zone.
    """
    try:
        return from_rfc3339(str(timestamp.unrecognized_fields[SIGNED_AT]))
    except (KeyError, ValueError) as error:
        msg = "this zoo's timestamp does not say when it was signed"
        raise MalformedDocumentError(msg) from error


def write_evidence(folder: Path, evidence: Evidence) -> None:
    """Write ``trust.json``.

    Raises:
        LocalError: it cannot be written.
    """
    write_beside(folder / EVIDENCE_NAME, evidence.to_bytes())


def read_evidence(folder: Path) -> Evidence:
    """Return what ``trust.json`` holds, still to be verified.

    Raises:
        MalformedDocumentError: there is none, or it is no such document.
        InvalidSpecError: there is no such folder.
        LocalError: it cannot be read.
    """
    if EVIDENCE_NAME not in entries(folder):
        msg = f"{folder}: no {EVIDENCE_NAME}: it was not pulled under a trust root"
        raise MalformedDocumentError(msg)
    data = read_plain(folder / EVIDENCE_NAME, limit_bytes=MAX_EVIDENCE_BYTES)
    try:
        return Evidence.from_bytes(data, limit_bytes=MAX_EVIDENCE_BYTES)
    except ValueError as error:
        msg = f"{folder / EVIDENCE_NAME}: {error}"
        raise MalformedDocumentError(msg) from error


def _release(text: str) -> ReleaseName:
    try:
        return ReleaseName.parse(text)
    except InvalidSpecError as error:
        msg = f"{EVIDENCE_NAME}: {error}"
        raise MalformedDocumentError(msg) from error


def _claimed(files: Mapping[str, bytes]) -> datetime:
    """Return the time to judge expiry at; the traversal shows who signed it."""
    data = files.get(f"{METADATA_PATH}{TIMESTAMP}.json")
    if data is None:
        msg = f"{EVIDENCE_NAME}: no timestamp in it"
        raise MalformedDocumentError(msg)
    return signed_at_of(parse(data, Timestamp).signed)


def _verified_at(
    zoo: TrustedZoo, evidence: Evidence, *, policy: Policy, now: datetime
) -> VerifiedAt:
    """Return the newest moment that a witness, or else the zoo, attests."""
    seen = _witnessed(zoo, evidence, policy=policy, now=now)
    if seen is None or seen.witnessed_at is None:
        return VerifiedAt(as_of=signed_at_of(zoo.timestamp), witnessed=False)
    zoo.require_alive(seen.witnessed_at)
    return VerifiedAt(as_of=seen.witnessed_at, witnessed=True)


def _witnessed(
    zoo: TrustedZoo, evidence: Evidence, *, policy: Policy, now: datetime
) -> WitnessedLog | None:
    trust = log_trust(zoo, policy)
    if trust is None:
        return None
    if evidence.log is None:
        msg = f"{EVIDENCE_NAME}: this zoo has a log, and there is no proof of it"
        raise MalformedDocumentError(msg)
    log = LogEvidence.read(evidence.log)
    return verify_evidence(log, logged(zoo), trust=trust, now=now)
