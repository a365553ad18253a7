"""Where signed role versions come in that publish nothing: each kind by its rules."""

from collections.abc import Mapping

from model_zoo.errors import MalformedDocumentError
from model_zoo.trust.roles import ROOT, TARGETS, version_of
from service.parts import Parts
from service.trust.accepting import require_roles
from service.trust.operating import NO_CHANGE, accept_root, accept_targets
from service.trust.writing import commit


def submit(
    parts: Parts, roles: Mapping[str, bytes], *, files: Mapping[str, bytes]
) -> dict[str, int]:
    """Make ``roles`` current; return role -> version.

    A root comes alone. Targets may bring what must change with them. Anything else is
    one publisher's role and bins, signed anew with the same content.

    Raises:
        VerificationError: a role cannot be believed or holds what it may not.
        ConflictError: it is not built upon the current version.
    """
    with parts.database.writing() as session:
        if ROOT in roles:
            if len(roles) > 1:
                msg = "a root is handed in alone"
                raise MalformedDocumentError(msg)
            accept_root(session, parts, roles[ROOT])
        elif TARGETS in roles:
            accept_targets(session, parts, roles, files=files)
        else:
            publisher = min(roles).partition("~")[0]
            require_roles(session, publisher, roles, change=NO_CHANGE, now=parts.now())
            commit(session, parts, roles)
    return {name: version_of(name, data) for name, data in roles.items()}
