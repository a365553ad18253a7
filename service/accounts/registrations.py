"""Who is who: publishers and trainers, each name bound to one key for good."""

from typing import TypeVar

from sqlalchemy import select

from model_zoo.errors import ConflictError, NotFoundError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import check_name
from model_zoo.statements.dsse import Role
from service.context import Context
from service.database.tables import PublisherRow, TrainerRow

Binding = TypeVar("Binding", PublisherRow, TrainerRow)


def bind(
    context: Context, table: type[Binding], *, name: str, key: PublicKey
) -> tuple[Binding, bool]:
    """Bind ``name`` to ``key``; return the binding and whether it is new.

    Raises:
        InvalidSpecError: not a name.
        ConflictError: the name is bound to another key.
    """
    check_name(name, what=_noun(table))
    with context.database.writing() as session:
        bound = session.get(table, name)
        if bound is None:
            row = table(
                name=name,
                keyid=key.keyid,
                public_key=key.to_pem(),
                created_at=context.now(),
            )
            session.add(row)
            return row, True
        if bound.keyid != key.keyid:
            msg = f"{_noun(table)} {name} is bound to another key, {bound.keyid}"
            raise ConflictError(msg)
        return bound, False


def binding(context: Context, table: type[Binding], *, name: str) -> Binding:
    """Return the binding of ``name``.

    Raises:
        InvalidSpecError: not a name.
        NotFoundError: nobody bound it.
    """
    check_name(name, what=_noun(table))
    with context.database.reading() as session:
        bound = session.get(table, name)
    if bound is None:
        msg = f"no {_noun(table)} {name}: the operator has not bound a key to it"
        raise NotFoundError(msg)
    return bound


def trainers(context: Context) -> list[TrainerRow]:
    """Return every trainer, by name."""
    with context.database.reading() as session:
        return list(session.scalars(select(TrainerRow).order_by(TrainerRow.name)))


def role_of(bound: PublisherRow | TrainerRow) -> Role:
    """Return the role that the one key of ``bound`` fills."""
    name = f"{_noun(type(bound))} {bound.name}"
    return Role(name, (PublicKey.from_pem(bound.public_key),))


def builders(context: Context) -> Role | None:
    """Return the role of all builder keys, any one of which is enough; None if none."""
    keys = {PublicKey.from_pem(trainer.public_key) for trainer in trainers(context)}
    return Role("the zoo's trainers", tuple(keys)) if keys else None


def _noun(table: type[PublisherRow] | type[TrainerRow]) -> str:
    return table.__tablename__.removesuffix("s")
