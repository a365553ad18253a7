"""Renewal of a publisher's roles, and co-signatures on a change of his that waits.

What waits is asked for again with the signatures it has by then: all of it is checked
as if it came now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from model_zoo.canonical import JsonObject
from model_zoo.errors import NotFoundError
from model_zoo.names import ReleaseName, check_name
from model_zoo.statements.manifest import FileEntry
from service.context import Context
from service.releases.publish import Submission, publish
from service.releases.revoke import Revocation, revoke
from service.repository.commit import commit
from service.repository.pending import HeldChange, hold, pending, with_signatures
from service.repository.validation import (
    NO_CHANGE,
    check_roles,
    role_files,
    versions_of,
)
from service.uploads.sessions import find_upload, require_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """One publisher's role and bins, signed anew, and the request that sent them."""

    roles: Mapping[str, bytes]
    request: JsonObject

    @classmethod
    def read(cls, request: JsonObject) -> Self:
        """Return what the JSON body of a request renews.

        Raises:
            MalformedDocumentError: a role is no JSON.
        """
        return cls(roles=role_files(request["roles"]), request=request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A change that one key more has signed.

    Attributes:
        change: as it was held.
        is_pending: whether it still lacks signatures.
        is_new: whether it was made now; a release may have been published meanwhile.
    """

    change: HeldChange
    is_pending: bool
    is_new: bool


def renew(context: Context, renewal: Renewal) -> dict[str, int] | None:
    """Make a publisher's role and bins current, signed anew and otherwise unchanged.

    Returns:
        Role name -> version; None where they are held until enough keys signed.

    Raises:
        InvalidSpecError: a role's name can be no publisher's.
        ThresholdNotMetError: no delegated key signed; see ``check_roles``.
        VerificationError: a role cannot be believed or holds what it may not.
        ConflictError: it is not built upon the current version, or another change of
            the publisher waits for signatures.
    """
    publisher, roles = _owner_of(renewal.roles), renewal.roles
    with context.database.writing() as session:
        lacking = check_roles(
            session, publisher, roles, change=NO_CHANGE, now=context.now()
        )
        if lacking is not None:
            body = renewal.request
            hold(
                session,
                context,
                HeldChange(kind="renewal", name=publisher, body=body),
            )
            return None
        commit(session, context, roles)
    return versions_of(roles)


def sign(context: Context, publisher: str, roles: Mapping[str, bytes]) -> Signed:
    """Add signatures to the change that waits, and make it if they are enough.

    Raises:
        NotFoundError: nothing of the publisher waits.
        NotPermittedError: none of the signatures is by a delegated key.
        ZooError: the change could not be made any more, whoever signed it.
    """
    held = pending(context, publisher)
    change = with_signatures(context, held, roles)
    is_new = True
    made: object
    match change.kind:
        case "release":
            submission = Submission.read(dict(change.body))
            made = publish(context, ReleaseName.parse(change.name), submission)
            is_new = made is not None and made[1]
        case "yank":
            revocation = Revocation.read(dict(change.body))
            made = revoke(context, ReleaseName.parse(change.name), revocation)
        case "renewal":
            made = renew(context, Renewal.read(dict(change.body)))
    return Signed(change=change, is_pending=made is None, is_new=is_new)


def pending_file(context: Context, publisher: str, name: str) -> FileEntry:
    """Return a file of the release of ``publisher`` that waits for signatures.

    Raises:
        NotFoundError: no release of his waits, or it has no such file.
    """
    change = pending(context, publisher)
    if change.kind != "release":
        msg = f"no release of {publisher} waits, but the {change.kind} of {change.name}"
        raise NotFoundError(msg)
    return require_file(find_upload(context, change.body["upload"]), name)


def _owner_of(roles: Iterable[str]) -> str:
    """Return the publisher whose roles these are, if they are one publisher's.

    Raises:
        InvalidSpecError: they can be nobody's.
    """
    return check_name(min(roles).partition("~")[0], what="publisher")
