"""Where signed role versions come in that publish nothing: each kind by its rules."""

from collections.abc import Iterable, Mapping

from model_zoo.errors import MalformedDocumentError
from model_zoo.tuf.roles import ROOT, TARGETS, version_of
from service.context import Context
from service.repository.admin import NO_CHANGE, accept_root, accept_targets
from service.repository.commit import commit
from service.repository.validation import require_roles


def is_operators(roles: Iterable[str]) -> bool:
    """Whether the operator's offline keys decide over ``roles``: a root, or targets."""
    return not {ROOT, TARGETS}.isdisjoint(roles)


def owner_of(roles: Iterable[str]) -> str:
    """Return the publisher whose roles these are, if they are one publisher's."""
    return min(roles).partition("~")[0]


def submit(
    context: Context, roles: Mapping[str, bytes], *, files: Mapping[str, bytes]
) -> dict[str, int]:
    """Make a root or targets current; return role -> version.

    A root comes alone. Targets may bring what must change with them.

    Raises:
        VerificationError: a role cannot be believed or holds what it may not.
        ConflictError: it is not built upon the current version.
    """
    with context.database.writing() as session:
        if ROOT not in roles:
            accept_targets(session, context, roles, files=files)
        elif len(roles) > 1:
            msg = "a root is handed in alone"
            raise MalformedDocumentError(msg)
        else:
            accept_root(session, context, roles[ROOT])
    return _versions(roles)


def renew(context: Context, roles: Mapping[str, bytes]) -> dict[str, int]:
    """Make one publisher's role and bins current; return role -> version.

    They are signed anew and hold what they held.

    Raises:
        ThresholdNotMetError: too few keys signed; see ``require_roles``.
        VerificationError: a role cannot be believed or holds what it may not.
        ConflictError: it is not built upon the current version.
    """
    publisher, now = owner_of(roles), context.now()
    with context.database.writing() as session:
        require_roles(session, publisher, roles, change=NO_CHANGE, now=now)
        commit(session, context, roles)
    return _versions(roles)


def _versions(roles: Mapping[str, bytes]) -> dict[str, int]:
    return {name: version_of(name, data) for name, data in roles.items()}
