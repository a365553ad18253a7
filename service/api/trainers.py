"""Trainers: names that the operator binds to builder keys."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from model_zoo.keys.ed25519 import PublicKey
from service.accounts.registrations import bind, binding, trainers
from service.api.schemas import BindingIn, BindingOut, BindingsOut
from service.database.tables import TrainerRow
from service.http.dependencies import ContextHere

router = APIRouter(tags=["trainers"])


@router.get("/trainers")
def list_trainers(context: ContextHere) -> BindingsOut:
    """Return every trainer."""
    return BindingsOut(items=[BindingOut.of(row) for row in trainers(context)])


@router.put("/trainers/{name}", status_code=HTTPStatus.CREATED)
def bind_trainer(
    name: str,
    request: Request,
    response: Response,
    body: BindingIn,
    context: ContextHere,
) -> BindingOut:
    """Bind a trainer's name to a builder key, for good; the same key again is 200."""
    key = PublicKey.from_pem(body.public_key)
    row, is_new = bind(context, TrainerRow, name=name, key=key)
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    response.headers["Location"] = request.url.path
    return BindingOut.of(row)


@router.get("/trainers/{name}")
def show_trainer(name: str, context: ContextHere) -> BindingOut:
    """Return the builder key that a trainer's name is bound to."""
    return BindingOut.of(binding(context, TrainerRow, name=name))
