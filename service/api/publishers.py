"""Publishers: names that the operator binds to keys."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from model_zoo.keys.ed25519 import PublicKey
from service.accounts.registrations import binding
from service.api.schemas import BindingIn, BindingOut
from service.database.tables import PublisherRow
from service.http.dependencies import ContextHere
from service.repository.admin import delegate_here

router = APIRouter(tags=["publishers"])


@router.put("/publishers/{name}", status_code=HTTPStatus.CREATED)
def bind_publisher(
    name: str,
    request: Request,
    response: Response,
    body: BindingIn,
    context: ContextHere,
) -> BindingOut:
    """Bind a publisher's name to a key, for good; again to the same key is 200."""
    key = PublicKey.from_pem(body.public_key)
    is_new = delegate_here(context, name, key)
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    response.headers["Location"] = request.url.path
    return BindingOut.of(binding(context, PublisherRow, name=name))


@router.get("/publishers/{name}")
def show_publisher(name: str, context: ContextHere) -> BindingOut:
    """Return the key that a publisher's name is bound to."""
    return BindingOut.of(binding(context, PublisherRow, name=name))
