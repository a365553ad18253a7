"""``zoo.lock``: releases, files and keys, so that a machine pulls exactly these."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from model_zoo.client import ZooClient
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.envelopes import Role
from model_zoo.errors import InvalidSpecError, PolicyNotMetError
from model_zoo.files import read_plain, write_beside
from model_zoo.folders import FileProgress
from model_zoo.jobs import Digest
from model_zoo.keys import PublicKey
from model_zoo.manifest import FileEntry
from model_zoo.names import ReleaseName
from model_zoo.policy import VerificationPolicy
from model_zoo.verification import VerifiedRelease, verify_release

LOCK_NAME = "zoo.lock"
MAX_LOCK_BYTES = 16 * 1024 * 1024
MAX_RELEASES = 1024
MAX_KEYS = 32


class LockedRelease(Document):
    """One release: its files, the digest of its statement, and whose word that is."""

    name: str
    files: tuple[FileEntry, ...]
    statement_sha256: Digest
    publisher_keys: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_KEYS)]
    threshold: Annotated[int, Field(ge=1, le=MAX_KEYS)]

    def policy(self) -> VerificationPolicy:
        """Return the policy that only this very statement fulfils.

        Raises:
            InvalidSpecError: the lock file's keys are no keys, or make no role.
        """
        keys = tuple(PublicKey.from_pem(pem) for pem in self.publisher_keys)
        try:
            role = Role("publisher", keys, self.threshold)
        except ValueError as error:
            msg = f"{LOCK_NAME}: {self.name}: {error}"
            raise InvalidSpecError(msg) from error
        return VerificationPolicy(
            publisher=role, statement_sha256=self.statement_sha256
        )


class Lock(Document):
    """What a machine may pull, and nothing else."""

    format: Literal[1] = 1
    releases: Annotated[
        tuple[LockedRelease, ...], Field(min_length=1, max_length=MAX_RELEASES)
    ]

    def merged_with(self, newer: "Lock") -> "Lock":
        """Return both locks' releases; where both name one, the newer entry."""
        releases = {release.name: release for release in self.releases}
        releases |= {release.name: release for release in newer.releases}
        return Lock(releases=tuple(releases[name] for name in sorted(releases)))

    def only(self, name: ReleaseName) -> LockedRelease:
        """Return the release called ``name``.

        Raises:
            PolicyNotMetError: it is not locked.
        """
        for release in self.releases:
            if release.name == str(name):
                return release
        msg = f"{name} is not in the lock file; add it with: zoo lock"
        raise PolicyNotMetError(msg)


def lock_releases(
    zoo: ZooClient, names: Iterable[ReleaseName], *, publisher: Role
) -> Lock:
    """Return a lock of releases whose statements ``publisher`` signed.

    Raises:
        VerificationError: one of them cannot be believed.
        InvalidSpecError: no name, or names of several publishers: the keys of one
            would then vouch for the releases of another.
    """
    names = list(names)
    if len({name.publisher for name in names}) > 1:
        msg = "lock the releases of one publisher at a time, each with its own keys"
        raise InvalidSpecError(msg)
    releases = tuple(_locked(zoo, name, publisher) for name in sorted(set(names)))
    try:
        return Lock(releases=releases)
    except ValueError as error:
        msg = f"a lock is of 1 to {MAX_RELEASES} releases"
        raise InvalidSpecError(msg) from error


def pull_locked(
    zoo: ZooClient,
    release: LockedRelease,
    *,
    to: Path,
    progress: FileProgress | None = None,
) -> VerifiedRelease:
    """Make ``to`` the verified folder of exactly the locked release.

    Raises:
        PolicyNotMetError: the zoo has another statement or files under the name.
        ConflictError: ``to`` holds something else.
        ZooError: as ``ZooClient.pull``.
    """
    name, policy = ReleaseName.parse(release.name), release.policy()
    envelope, provenance = zoo.release(name).envelopes()
    statement = verify_release(
        envelope, name=name, policy=policy, provenance=provenance
    )
    if statement.manifest.files != release.files:
        msg = f"{name}: the lock file lists other files than its publisher signed"
        raise PolicyNotMetError(msg)
    return zoo.pull(name, policy=policy, to=to, progress=progress)


def write_lock(lock: Lock, path: Path) -> None:
    """Replace the lock file at ``path``, all at once.

    Raises:
        LocalError: it cannot be written.
    """
    write_beside(path, f"{lock.model_dump_json(indent=2)}\n".encode())


def read_lock(path: Path) -> Lock:
    """Return the lock in the file at ``path``.

    Raises:
        InvalidSpecError: it is no lock file.
        MalformedDocumentError: it is no plain file, or too long.
        LocalError: it cannot be read.
    """
    data = read_plain(path, limit_bytes=MAX_LOCK_BYTES)
    try:
        return Lock.from_bytes(data, limit_bytes=MAX_LOCK_BYTES)
    except ValueError as error:
        msg = f"{path}: not a lock file: {error}"
        raise InvalidSpecError(msg) from error


def _locked(zoo: ZooClient, name: ReleaseName, publisher: Role) -> LockedRelease:
    envelope, provenance = zoo.release(name).envelopes()
    statement = verify_release(
        envelope,
        name=name,
        policy=VerificationPolicy(publisher=publisher),
        provenance=provenance,
    )
    return LockedRelease(
        name=str(name),
        files=statement.manifest.files,
        statement_sha256=sha256_bytes(envelope.unverified_payload),
        publisher_keys=tuple(key.to_pem() for key in publisher.keys),
        threshold=publisher.threshold,
    )
