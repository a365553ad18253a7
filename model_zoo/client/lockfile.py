"""``zoo.lock``: releases, files, keys and root, so that a machine pulls exactly these.

A reader refuses a format or a field that it does not know, and every new field raises
``format``: what an older reader passed over would be a demand dropped in silence.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model_zoo.client.zoo import ZooClient
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, PolicyNotMetError
from model_zoo.files import read_plain, write_beside
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.folder import FileProgress
from model_zoo.statements.jobs import Digest
from model_zoo.statements.manifest import FileEntry
from model_zoo.statements.policy import Policy
from model_zoo.statements.verification import VerifiedRelease
from model_zoo.tuf.anchor import Anchor
from model_zoo.tuf.updater import MAX_ROOT_BYTES, require_root

LOCK_NAME = "zoo.lock"
MAX_LOCK_BYTES = 16 * 1024 * 1024
MAX_RELEASES = 1024
MAX_KEYS = 32
MAX_SHOWN = 8


class LockedRelease(Document):
    """One release: its files, the digest of its statement, and whose word that is.

    Without ``publisher_keys`` the root of the lock vouches for it.
    """

    name: str
    files: tuple[FileEntry, ...]
    statement_sha256: Digest
    publisher_keys: Annotated[tuple[str, ...], Field(max_length=MAX_KEYS)] = ()
    threshold: Annotated[int, Field(ge=1, le=MAX_KEYS)] = 1

    def publisher(self) -> Role | None:
        """Return the keys that must have signed the statement, if any are locked.

        Raises:
            InvalidSpecError: the lock file's keys are no keys, or make no role.
        """
        if not self.publisher_keys:
            return None
        keys = tuple(PublicKey.from_pem(pem) for pem in self.publisher_keys)
        try:
            return Role("publisher", keys, self.threshold)
        except ValueError as error:
            msg = f"{LOCK_NAME}: {self.name}: {error}"
            raise InvalidSpecError(msg) from error


class Lock(Document):
    """What a machine may pull, and nothing else.

    ``root`` is the pinned root itself, so that a fresh checkout needs no other file:
    every release must then be one that the walk from it leads to now. Format 1 has
    none.
    """

    format: Literal[1, 2] = 2
    root: Annotated[str, Field(max_length=MAX_ROOT_BYTES)] | None = None
    releases: Annotated[
        tuple[LockedRelease, ...], Field(min_length=1, max_length=MAX_RELEASES)
    ]

    @model_validator(mode="after")
    def _check_pins(self) -> Self:
        """Refuse a release that nothing pins, and pins that would have no effect."""
        if self.root is not None and self.format == 1:
            msg = "format 1 has no root"
            raise ValueError(msg)
        if self.root is None and not all(it.publisher_keys for it in self.releases):
            msg = "a release without publisher keys needs a root"
            raise ValueError(msg)
        if any(it.threshold > 1 and not it.publisher_keys for it in self.releases):
            msg = "a threshold needs publisher keys"
            raise ValueError(msg)
        if len({it.name for it in self.releases}) < len(self.releases):
            msg = "a release is listed twice, and only one entry would count"
            raise ValueError(msg)
        return self

    def anchor(self) -> Anchor | None:
        """Return the locked root as an anchor; None where keys alone are locked.

        Raises:
            MalformedDocumentError: it is no root.
        """
        if self.root is None:
            return None
        return Anchor(root=require_root(self.root.encode(), where=LOCK_NAME))

    def require_no_other(self, root: str | None) -> None:
        """Accept ``root`` if it is the one that is locked, or if one of them is none.

        Raises:
            InvalidSpecError: it is another one.
        """
        if None not in {self.root, root} and self.root != root:
            msg = (
                "the lock file pins another root, and one root goes for all of it; use "
                "another file with --lock"
            )
            raise InvalidSpecError(msg)

    def merged_with(self, newer: "Lock") -> "Lock":
        """Return both locks' releases; where both name one, the newer entry.

        Raises:
            InvalidSpecError: they pin two roots, or keys would be pinned no more.
        """
        self.require_no_other(newer.root)
        releases = {release.name: release for release in self.releases}
        for release in newer.releases:
            known = releases.get(release.name)
            had_both = self.root is not None and known and known.publisher_keys
            if had_both and not release.publisher_keys:
                msg = f"{release.name} is locked with keys: give them again with --key"
                raise InvalidSpecError(msg)
            releases[release.name] = release
        return Lock(
            root=self.root or newer.root,
            releases=tuple(releases[name] for name in sorted(releases)),
        )

    def choose(self, text: str) -> tuple[LockedRelease, ...]:
        """Return the release that ``text`` names; all of them where it is empty.

        Without a version it is the one that is locked, if only one is.

        Raises:
            InvalidSpecError: it is no name, or several versions are locked.
            PolicyNotMetError: it is not locked.
        """
        if not text:
            return self.releases
        if "@" in text:
            return (self.only(ReleaseName.parse(text)),)
        model = ModelName.parse(text)
        locked = [
            it for it in self.releases if ReleaseName.parse(it.name).model_name == model
        ]
        if not locked:
            raise _not_locked(model)
        if len(locked) > 1:
            names = ", ".join(it.name for it in locked[:MAX_SHOWN])
            more = f" and {len(locked) - MAX_SHOWN} more" * (len(locked) > MAX_SHOWN)
            msg = f"{model}: say which of those that are locked: {names}{more}"
            raise InvalidSpecError(msg)
        return tuple(locked)

    def only(self, name: ReleaseName) -> LockedRelease:
        """Return the release called ``name``.

        Raises:
            PolicyNotMetError: it is not locked.
        """
        for release in self.releases:
            if release.name == str(name):
                return release
        raise _not_locked(name)


def _not_locked(name: ModelName | ReleaseName) -> PolicyNotMetError:
    return PolicyNotMetError(f"{name} is not in the lock file; add it with: zoo lock")


def lock_releases(
    zoo: ZooClient, names: Iterable[ReleaseName], *, publisher: Role | None = None
) -> Lock:
    """Return a lock of releases that the client's root vouches for, or keys, or both.

    Args:
        zoo: the client; its root, if it pins one, becomes that of the lock.
        names: which releases.
        publisher: the keys that must have signed each statement, to be locked, too.

    Raises:
        VerificationError: one of them cannot be believed, or nothing is pinned.
        InvalidSpecError: no name; or keys, and names of several publishers: the keys
            of one would then vouch for the releases of another.
    """
    names = list(names)
    if publisher is not None and len({name.publisher for name in names}) > 1:
        msg = "lock the releases of one publisher at a time, each with its own keys"
        raise InvalidSpecError(msg)
    releases = tuple(_locked(zoo, name, publisher) for name in sorted(set(names)))
    root = None if zoo.root is None else zoo.root.decode()
    try:
        return Lock(root=root, releases=releases)
    except ValueError as error:
        msg = f"a lock is of 1 to {MAX_RELEASES} releases"
        raise InvalidSpecError(msg) from error


def pull_locked(
    zoo: ZooClient,
    lock: Lock,
    release: LockedRelease,
    *,
    to: Path,
    policy: Policy | None = None,
    progress: FileProgress | None = None,
) -> VerifiedRelease:
    """Make ``to`` the verified folder of exactly the locked release.

    Args:
        zoo: the client; it must pin the root that the lock pins, if it pins one.
        lock: what the release is an entry of.
        release: which one.
        to: the folder to make.
        policy: what to demand beside what is locked.
        progress: told of every piece that arrived.

    Raises:
        PolicyNotMetError: the zoo has another statement or files under the name, or
            the client does not pin the lock's root.
        InvalidSpecError: the policy pins keys or a statement of its own.
        ConflictError: ``to`` holds something else.
        ZooError: as ``ZooClient.pull``.
    """
    policy = policy or Policy()
    if policy.publisher is not None or policy.statement_sha256 is not None:
        msg = "which keys and statement are pinned is for the lock file to say"
        raise InvalidSpecError(msg)
    if lock.root is not None and zoo.root != lock.root.encode():
        msg = "the lock file pins a root, and this is another one, or none: --trust"
        raise PolicyNotMetError(msg)
    name = ReleaseName.parse(release.name)
    pins = {
        "publisher": release.publisher(),
        "statement_sha256": release.statement_sha256,
    }
    policy = policy.model_copy(update=pins)
    statement, _ = zoo.look_up(name, policy=policy)
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


def _locked(zoo: ZooClient, name: ReleaseName, publisher: Role | None) -> LockedRelease:
    statement, envelope = zoo.look_up(name, policy=Policy(publisher=publisher))
    keys = () if publisher is None else publisher.keys
    return LockedRelease(
        name=str(name),
        files=statement.manifest.files,
        statement_sha256=sha256_bytes(envelope.unverified_payload),
        publisher_keys=tuple(key.to_pem() for key in keys),
        threshold=1 if publisher is None else publisher.threshold,
    )
