"""Releases that lack a co-signature: held, one a publisher, until they have it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.errors import ConflictError, MalformedDocumentError, NotFoundError
from model_zoo.names import ReleaseName
from service.database.tables import PendingRow
from service.parts import Parts

RELEASE, BODY = "release", "body"


def hold(parts: Parts, name: ReleaseName, body: JsonObject) -> None:
    """Keep a release that some of the delegated keys have signed.

    Sent again it replaces itself; it lives as long as its upload does.

    Raises:
        ConflictError: another release of this publisher is waiting.
    """
    with parts.database.writing() as session:
        waiting = session.get(PendingRow, name.publisher)
        if waiting is not None and waiting.request[RELEASE] != str(name):
            msg = (
                f"{waiting.request[RELEASE]} waits for signatures: have it signed, or "
                "take it back, before the next one"
            )
            raise ConflictError(msg)
        if waiting is None:
            waiting = PendingRow(publisher=name.publisher)
            session.add(waiting)
        waiting.request = {RELEASE: str(name), BODY: body}
        waiting.created_at = parts.now()


def pending(parts: Parts, publisher: str) -> tuple[ReleaseName, dict[str, Any]]:
    """Return the release of ``publisher`` that waits, and the request that made it.

    Raises:
        NotFoundError: none waits.
    """
    with parts.database.reading() as session:
        row = _require(session, publisher)
        return ReleaseName.parse(row.request[RELEASE]), dict(row.request[BODY])


def take_back(parts: Parts, publisher: str) -> None:
    """Forget the release of ``publisher`` that waits.

    Raises:
        NotFoundError: none waits.
    """
    with parts.database.writing() as session:
        session.delete(_require(session, publisher))


def with_signatures(
    body: Mapping[str, Any], roles: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the request with the signatures of ``roles`` beside those it has.

    Raises:
        MalformedDocumentError: they are over other roles than those that wait.
    """
    held = body["roles"]
    if set(roles) != set(held):
        msg = f"expected signatures over {sorted(held)}, found {sorted(roles)}"
        raise MalformedDocumentError(msg)
    merged = {}
    for name, role in roles.items():
        signed = role.get("signed")
        if canonical_json(signed) != canonical_json(held[name]["signed"]):
            msg = f"{name}: signed is another version than the one that waits"
            raise MalformedDocumentError(msg)
        merged[name] = {"signed": signed, "signatures": _union(held[name], role)}
    return {**body, "roles": merged}


def _union(held: Mapping[str, Any], given: Mapping[str, Any]) -> list[JsonObject]:
    both = [*held["signatures"], *given.get("signatures", [])]
    try:
        return list({signature["keyid"]: signature for signature in both}.values())
    except (KeyError, TypeError) as error:
        msg = "expected signatures with keyid and sig"
        raise MalformedDocumentError(msg) from error


def _require(session: Session, publisher: str) -> PendingRow:
    row = session.get(PendingRow, publisher)
    if row is None:
        msg = f"no release of {publisher[:80]!a} waits for signatures"
        raise NotFoundError(msg)
    return row
