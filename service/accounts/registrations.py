"""Publishers and trainers: each name is registered with one key, for good."""

from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session
from tuf.api.metadata import Metadata, Targets

from model_zoo.errors import ConflictError, NotFoundError, NotPermittedError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import check_name
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import delegate, next_targets
from model_zoo.tuf.publisher_roles import sign_roles
from model_zoo.tuf.roles import TARGETS, delegation_of, keys_of
from service.context import Context
from service.database.tables import PublisherRow, TrainerRow
from service.repository import state
from service.repository.admin import accept_targets
from service.repository.losses import next_version, require_not_anothers

Registered = TypeVar("Registered", PublisherRow, TrainerRow)


def register_trainer(
    context: Context, name: str, key: PublicKey
) -> tuple[TrainerRow, bool]:
    """Register a trainer; return its registration and whether it is new.

    Raises:
        InvalidSpecError: not a name.
        ConflictError: the name is registered with another key.
    """
    check_name(name, what=_noun(TrainerRow))
    with context.database.writing() as session:
        known = session.get(TrainerRow, name)
        if known is None:
            row = TrainerRow(
                name=name,
                keyid=key.keyid,
                public_key=key.to_pem(),
                created_at=context.now(),
            )
            session.add(row)
            return row, True
        if known.keyid != key.keyid:
            msg = f"trainer {name} is bound to another key, {known.keyid}"
            raise ConflictError(msg)
        return known, False


def register_publisher(
    context: Context, name: str, key: PublicKey
) -> tuple[PublisherRow, bool]:
    """Delegate to a publisher with a development root's targets key.

    Returns:
        The registration and whether it is new.

    Raises:
        NotPermittedError: the targets key is not on this server, as it should be.
        ConflictError: the name has another key.
        InvalidSpecError: no name for a publisher.
    """
    with context.database.writing() as session:
        current = state.require(session, TARGETS, Targets)
        known = delegation_of(current.signed, name)
        if known is None:
            require_not_anothers(session, name, key.keyid)
            _accept_own(session, context, _delegated(session, context, name, key))
        elif keys_of(current.signed, known) != (key,):
            msg = f"publisher {name} is bound to another key, {known.keyids[0]}"
            raise ConflictError(msg)
    return registration(context, PublisherRow, name=name), known is None


def _delegated(
    session: Session, context: Context, name: str, key: PublicKey
) -> Metadata[Targets]:
    """Return the next top-level targets, which delegate to one publisher more."""
    current = state.require(session, TARGETS, Targets)
    targets = next_targets(current, now=context.now())
    targets.signed.version = next_version(
        session, TARGETS, current=current.signed.version
    )
    delegate(targets.signed, name, Role(keys=(key,)))
    return targets


def _accept_own(session: Session, context: Context, targets: Metadata[Targets]) -> None:
    key = context.keys.targets_key
    if key is None:
        msg = (
            "the targets key of this zoo is kept offline: delegate with "
            "zoo trust delegate, on the machine that has it"
        )
        raise NotPermittedError(msg)
    accept_targets(session, context, sign_roles({TARGETS: targets}, key), files={})


def registration(context: Context, table: type[Registered], *, name: str) -> Registered:
    """Return the registration of ``name``.

    Raises:
        InvalidSpecError: not a name.
        NotFoundError: nobody registered it.
    """
    check_name(name, what=_noun(table))
    with context.database.reading() as session:
        known = session.get(table, name)
    if known is None:
        msg = f"no {_noun(table)} {name}: the operator has not bound a key to it"
        raise NotFoundError(msg)
    return known


def trainers(context: Context) -> list[TrainerRow]:
    """Return every trainer, by name."""
    with context.database.reading() as session:
        return list(session.scalars(select(TrainerRow).order_by(TrainerRow.name)))


def role_of(registered: PublisherRow | TrainerRow) -> Role:
    """Return the role that the one key of ``registered`` fills."""
    name = f"{_noun(type(registered))} {registered.name}"
    return Role(name, (PublicKey.from_pem(registered.public_key),))


def builders(context: Context) -> Role | None:
    """Return the role of all builder keys, any one of which is enough; None if none."""
    keys = {PublicKey.from_pem(trainer.public_key) for trainer in trainers(context)}
    return Role("the zoo's trainers", tuple(keys)) if keys else None


def _noun(table: type[PublisherRow] | type[TrainerRow]) -> str:
    return table.__tablename__.removesuffix("s")
