"""Yanks: a release withdrawn for good, and whose withdrawal reaches which file.

The index of withdrawn files is signed online and not believed: it says where to look.
A withdrawal counts once its publisher's role, or the operator's, says it of a release
that held the file. ADR 21 and ADR 27.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from tuf.api.metadata import TargetFile

from model_zoo.clock import rfc3339
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, MalformedDocumentError, WrongReleaseError
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.intoto import vouched_release
from model_zoo.statements.jobs import Digest
from model_zoo.statements.manifest import Manifest
from model_zoo.statements.release_json import parse_bundle
from model_zoo.text import OneLine, printable
from model_zoo.tuf.publisher_roles import release_targets, target_file
from model_zoo.tuf.roles import (
    OPERATOR,
    WITHDRAWALS,
    WITHDRAWN,
    delegation_of,
    target_path,
)
from model_zoo.tuf.view import TrustedZoo

YANK_NAME = "yanked.json"
MAX_REASON_CHARACTERS = 1000
MAX_NOTICE_BYTES = 64 * 1024
MAX_INDEX_ENTRY_BYTES = 4 * 1024 * 1024
"""One name of at most 194 characters for each publisher; targets list some 14,000."""

ReleaseText = Annotated[OneLine, Field(max_length=256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class YankEdit:
    """What a yank changes in its publisher's roles: target paths and files."""

    add: Mapping[str, TargetFile]
    remove: frozenset[str]


class YankNotice(Document):
    """This release must not be used any more; there is no un-yank.

    ``files`` maps name to SHA-256, so that what was made from them is found by digest.
    """

    format: Literal[1] = 1
    release: ReleaseText
    withdrawn_by: Literal["publisher", "operator"]
    reason: Annotated[OneLine, Field(min_length=1, max_length=MAX_REASON_CHARACTERS)]
    yanked_at: Annotated[OneLine, Field(max_length=64)]
    files: Annotated[dict[str, Digest], Field(max_length=256)]

    @classmethod
    def read(cls, data: bytes) -> "YankNotice":
        """Return the notice in ``data``, which a TUF role vouches for.

        Raises:
            MalformedDocumentError: it is no such notice.
        """
        try:
            return cls.from_bytes(data, limit_bytes=MAX_NOTICE_BYTES)
        except ValueError as error:
            msg = f"yank notice: {error}"
            raise MalformedDocumentError(msg) from error

    def to_line(self) -> str:
        """Return the notice as one line."""
        return (
            f"{self.release} was withdrawn by the {self.withdrawn_by} at "
            f"{self.yanked_at}: {self.reason}"
        )


class WithdrawnFile(Document):
    """Who is said to have withdrawn a file: where to look, and nothing to believe.

    Attributes:
        publishers: a release of each publisher that withdrew one with that file.
        operator: such a release that the operator withdrew.
    """

    format: Literal[2] = 2
    publishers: tuple[ReleaseText, ...] = ()
    operator: ReleaseText | None = None

    @classmethod
    def read(cls, data: bytes) -> "WithdrawnFile":
        """Return the entry in ``data``.

        Raises:
            MalformedDocumentError: it is no such entry, or names what is no release.
        """
        try:
            entry = cls.from_bytes(data, limit_bytes=MAX_INDEX_ENTRY_BYTES)
            entry.releases()
        except (ValueError, InvalidSpecError) as error:
            msg = f"index of withdrawn files: {error}"
            raise MalformedDocumentError(msg) from error
        return entry

    def releases(self) -> tuple[ReleaseName, ...]:
        """Return the releases that it names, the operator's first.

        Raises:
            InvalidSpecError: one of them is no release's name.
        """
        first = () if self.operator is None else (self.operator,)
        return tuple(ReleaseName.parse(name) for name in (*first, *self.publishers))

    def with_notice(self, notice: YankNotice) -> "WithdrawnFile":
        """Return the entry that names this notice's release, if nobody spoke before.

        What a publisher says once of a file holds for all releases of his, and what
        the operator says for everybody's: more names would say no more.
        """
        name = notice.release
        if notice.withdrawn_by == "operator":
            return WithdrawnFile(
                publishers=self.publishers, operator=self.operator or name
            )
        publisher = name.partition("/")[0]
        if any(it.partition("/")[0] == publisher for it in self.publishers):
            return self
        return WithdrawnFile(
            publishers=(*self.publishers, name), operator=self.operator
        )


def yank_notice(
    name: ReleaseName, *, reason: str, files: dict[str, str], now: datetime
) -> YankNotice:
    """Return a publisher's notice that his release is withdrawn.

    Raises:
        InvalidSpecError: no reason, too long a one, or one that is not one line.
    """
    try:
        return YankNotice(
            release=str(name),
            withdrawn_by="publisher",
            reason=reason.strip(),
            yanked_at=rfc3339(now),
            files=files,
        )
    except ValueError as error:
        msg = f"say why, in one line of 1 to {MAX_REASON_CHARACTERS} characters"
        raise InvalidSpecError(msg) from error


def yank_edit(
    name: ReleaseName, notice: YankNotice, *, manifest: Manifest, bundle: bytes
) -> YankEdit:
    """Return the edit that drops a release's targets and names the notice instead.

    Args:
        name: the release.
        notice: why.
        manifest: the release's files.
        bundle: its ``release.json``.
    """
    data, path = notice.to_bytes(), target_path(name, YANK_NAME)
    sha256 = sha256_bytes(data)
    return YankEdit(
        add={path: target_file(path, size_bytes=len(data), sha256=sha256)},
        remove=frozenset(release_targets(name, manifest, bundle=bundle)),
    )


def index_path(sha256: str) -> str:
    """Return the target path of a withdrawn file's ``WithdrawnFile``, by its digest."""
    return f"{OPERATOR}/yanked/{sha256}"


def withdrawal(zoo: TrustedZoo, name: ReleaseName) -> str | None:
    """Return why a release was withdrawn, in one line; None where it was not."""
    if is_withdrawn_by_operator(zoo, name):
        zoo.target(target_path(name, "-"))
        reasons = zoo.delegated(WITHDRAWN).unrecognized_fields.get(WITHDRAWALS, {})
        reason = reasons.get(str(name)) if isinstance(reasons, dict) else None
        shown = printable(str(reason or "no reason is told"))
        return f"{name} was withdrawn by the operator: {shown}"
    if zoo.target(target_path(name, BUNDLE_NAME)) is not None:
        return (
            None  # a yank drops it in the step that adds the notice: one look-up less
        )
    if zoo.target(target_path(name, YANK_NAME)) is None:
        return None
    notice = YankNotice.read(zoo.read_target(target_path(name, YANK_NAME)))
    if notice.release != str(name):
        raise WrongReleaseError.of(expected=str(name), found=notice.release)
    return notice.to_line()


def is_withdrawn_by_operator(zoo: TrustedZoo, name: ReleaseName) -> bool:
    """Whether the top-level targets hide a release."""
    delegation = delegation_of(zoo.targets, WITHDRAWN)
    return delegation is not None and delegation.is_delegated_path(
        target_path(name, "-")
    )


def withdrawn_file(
    zoo: TrustedZoo, sha256: str, *, release: ReleaseName | None
) -> str | None:
    """Return why a file must not be used any more, in one line; None where it may be.

    Args:
        zoo: what is vouched for now.
        sha256: the file's digest.
        release: a release that holds the file: the operator's word counts, and that of
            the release's own publisher. None where no release is known to hold it:
            then everybody's does.

    Raises:
        VerificationError: a role that withdraws it cannot be believed.
    """
    path = index_path(sha256)
    if zoo.target(path) is None:
        return None
    entry = WithdrawnFile.read(zoo.read_target(path))
    for name in entry.releases():
        is_bound = release is None or name.publisher == release.publisher
        if not is_bound and not is_withdrawn_by_operator(zoo, name):
            continue
        reason = withdrawal(zoo, name)
        if reason is not None and _held(zoo, name, sha256):
            return reason
    return None


def _held(zoo: TrustedZoo, name: ReleaseName, sha256: str) -> bool:
    """Whether a withdrawn release's own publisher says that it had the file."""
    notice = zoo.published(target_path(name, YANK_NAME))
    if notice is not None:
        return sha256 in YankNotice.read(zoo.fetch(notice)).files.values()
    bundle = zoo.published(target_path(name, BUNDLE_NAME))
    if bundle is None:
        return False
    envelope, _ = parse_bundle(zoo.fetch(bundle))
    tensors = vouched_release(envelope).manifest.tensors()
    return sha256 in {file.sha256 for file in tensors}
