"""Publishers and trainers: names that the operator binds to keys."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from model_zoo.keys.ed25519 import PublicKey
from model_zoo.keys.pem import MAX_PEM_BYTES
from service.accounts.registrations import (
    register_publisher,
    register_trainer,
    registration,
    trainers,
)
from service.api.schemas import Incoming
from service.database.tables import PublisherRow, TrainerRow
from service.http.dependencies import ContextHere

router = APIRouter()


class BindingIn(Incoming):
    """The key to bind a name to."""

    public_key: Annotated[str, Field(max_length=MAX_PEM_BYTES)]


class BindingOut(BaseModel):
    """A name and its key."""

    name: str
    keyid: str
    public_key: str

    @classmethod
    def of(cls, row: PublisherRow | TrainerRow) -> "BindingOut":
        """Return what the API says of a binding."""
        return cls(name=row.name, keyid=row.keyid, public_key=row.public_key)


class BindingsOut(BaseModel):
    """Several of them."""

    items: list[BindingOut]


@router.put("/publishers/{name}", status_code=HTTPStatus.CREATED, tags=["publishers"])
def bind_publisher(
    name: str,
    request: Request,
    response: Response,
    body: BindingIn,
    context: ContextHere,
) -> BindingOut:
    """Bind a publisher's name to a key, for good; again to the same key is 200."""
    key = PublicKey.from_pem(body.public_key)
    row, is_new = register_publisher(context, name, key)
    _say_where(request, response, is_new=is_new)
    return BindingOut.of(row)


@router.get("/publishers/{name}", tags=["publishers"])
def show_publisher(name: str, context: ContextHere) -> BindingOut:
    """Return the key that a publisher's name is bound to."""
    return BindingOut.of(registration(context, PublisherRow, name=name))


@router.get("/trainers", tags=["trainers"])
def list_trainers(context: ContextHere) -> BindingsOut:
    """Return every trainer."""
    return BindingsOut(items=[BindingOut.of(row) for row in trainers(context)])


@router.put("/trainers/{name}", status_code=HTTPStatus.CREATED, tags=["trainers"])
def bind_trainer(
    name: str,
    request: Request,
    response: Response,
    body: BindingIn,
    context: ContextHere,
) -> BindingOut:
    """Bind a trainer's name to a builder key, for good; the same key again is 200."""
    key = PublicKey.from_pem(body.public_key)
    row, is_new = register_trainer(context, name, key)
    _say_where(request, response, is_new=is_new)
    return BindingOut.of(row)


@router.get("/trainers/{name}", tags=["trainers"])
def show_trainer(name: str, context: ContextHere) -> BindingOut:
    """Return the builder key that a trainer's name is bound to."""
    return BindingOut.of(registration(context, TrainerRow, name=name))


def _say_where(request: Request, response: Response, *, is_new: bool) -> None:
    """Answer 201 for a new binding and 200 for one that was there, with its place."""
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    response.headers["Location"] = request.url.path
