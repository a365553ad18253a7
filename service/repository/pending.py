"""Changes that lack a co-signature: held, one a publisher, until they have it.

What is held was checked as if it were complete: signatures, though too few, content,
next version, notice. Not checked is what others do while it waits; all of it is checked
again when it appears.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from sqlalchemy.orm import Session
from tuf.api.metadata import Targets

from model_zoo.errors import (
    ConflictError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
)
from model_zoo.tuf.roles import TARGETS, parse, signed_bytes
from service.context import Context
from service.database.tables import PendingRow
from service.repository import state

Kind = Literal["release", "yank", "renewal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldChange:
    """What a publisher asked for, as the request that asked.

    ``name`` is the release's; a renewal is of the publisher himself.
    """

    kind: Kind
    name: str
    body: Mapping[str, Any]

    @property
    def publisher(self) -> str:
        """Whose roles it changes."""
        return self.name.partition("/")[0]


def hold(session: Session, context: Context, change: HeldChange) -> None:
    """Keep a change that lacks signatures; sent again it replaces itself.

    Only a change that one of the delegated keys has signed may be held.

    Raises:
        ConflictError: another change of this publisher is waiting.
    """
    row = session.get(PendingRow, change.publisher)
    if row is None:
        row = PendingRow(publisher=change.publisher)
        session.add(row)
    else:
        waiting = _change(row)
        if (waiting.kind, waiting.name) != (change.kind, change.name):
            msg = (
                f"the {waiting.kind} of {waiting.name} waits for signatures: have "
                "it signed, or take it back, before the next change"
            )
            raise ConflictError(msg)
    row.request = {
        "kind": change.kind,
        "name": change.name,
        "body": dict(change.body),
    }
    row.created_at = context.now()


def pending(context: Context, publisher: str) -> HeldChange:
    """Return the change of ``publisher`` that waits.

    Raises:
        NotFoundError: none waits.
    """
    with context.database.reading() as session:
        return _change(_require(session, publisher))


def cancel(context: Context, publisher: str) -> None:
    """Forget the change of ``publisher`` that waits.

    Raises:
        NotFoundError: none waits.
    """
    with context.database.writing() as session:
        session.delete(_require(session, publisher))


def forget_overtaken(session: Session, roles: Iterable[str]) -> None:
    """Delete changes that were to be the next version of one of ``roles``.

    Called for every step of the repository, in the step's own transaction.
    """
    changed = set(roles)
    for publisher in {name.partition("~")[0] for name in changed}:
        row = session.get(PendingRow, publisher)
        if row is not None and not changed.isdisjoint(_change(row).body["roles"]):
            session.delete(row)


def with_signatures(
    context: Context, change: HeldChange, roles: Mapping[str, bytes]
) -> HeldChange:
    """Return the change with the signatures of ``roles`` beside those it has.

    Signatures by other keys than the delegated ones are left out.

    Raises:
        MalformedDocumentError: they are over other roles than those that wait.
        NotPermittedError: none of them is by a delegated key.
    """
    held = change.body["roles"]
    if set(roles) != set(held):
        msg = f"expected signatures over {sorted(held)}, found {sorted(roles)}"
        raise MalformedDocumentError(msg)
    with context.database.reading() as session:
        targets = state.require(session, TARGETS, Targets).signed
    merged = {}
    for name, data in roles.items():
        waiting = parse(json.dumps(held[name]).encode(), Targets)
        given = parse(data, Targets)
        if given.signed != waiting.signed:
            msg = f"{name}: signed is another version than the one that waits"
            raise MalformedDocumentError(msg)
        # Bins have the keys of the role above them: it was held for that.
        genuine = targets.get_verification_result(
            change.publisher, signed_bytes(waiting.signed), given.signatures
        ).signed
        if not genuine:
            msg = f"{name}: signed by none of the keys that it is delegated to"
            raise NotPermittedError(msg)
        waiting.signatures |= {keyid: given.signatures[keyid] for keyid in genuine}
        merged[name] = waiting.to_dict()
    return replace(change, body={**change.body, "roles": merged})


def _require(session: Session, publisher: str) -> PendingRow:
    row = session.get(PendingRow, publisher)
    if row is None:
        msg = f"no change of {publisher[:80]!a} waits for signatures"
        raise NotFoundError(msg)
    return row


def _change(row: PendingRow) -> HeldChange:
    request = row.request
    return HeldChange(
        kind=cast("Kind", request["kind"]), name=request["name"], body=request["body"]
    )
