"""Yanks: a release withdrawn for good, with the reason, by digest and by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from tuf.api.metadata import TargetFile

from model_zoo.clock import rfc3339
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.names import ReleaseName
from model_zoo.statements.jobs import Digest
from model_zoo.statements.manifest import Manifest
from model_zoo.text import OneLine
from model_zoo.tuf.publisher_roles import release_targets, target_file
from model_zoo.tuf.roles import OPERATOR, target_path

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

    def told(self) -> str:
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
