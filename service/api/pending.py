"""Changes that wait for a co-signature, as their co-signers find and sign them."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.api.schemas import RolesIn
from service.http.dependencies import ContextHere
from service.http.files import blob_response
from service.releases.cosigning import pending_file, sign
from service.repository.pending import cancel, pending
from service.repository.validation import role_files

router = APIRouter(tags=["pending"])
PENDING = "/publishers/{publisher}/pending"


class PendingOut(BaseModel):
    """A change that waits for signatures: its kind, and the request as it was sent."""

    kind: str
    name: str
    request: dict[str, Any]


class SignedOut(BaseModel):
    """A change that one more key has signed, and whether it still waits."""

    kind: str
    name: str
    pending: bool


@router.get(PENDING)
def show_pending(publisher: str, context: ContextHere) -> PendingOut:
    """Return the change of a publisher that lacks signatures, as it was sent."""
    change = pending(context, publisher)
    return PendingOut(kind=change.kind, name=change.name, request=dict(change.body))


@router.get(PENDING + "/files/{file}")
def download_pending_file(
    publisher: str, file: str, request: Request, context: ContextHere
) -> Response:
    """Return a file of the release that waits: nobody has to sign it unseen."""
    return blob_response(request, context, pending_file(context, publisher, file))


@router.post(PENDING + "/signatures", status_code=HTTPStatus.CREATED)
def sign_pending(
    publisher: str, response: Response, body: RolesIn, context: ContextHere
) -> SignedOut:
    """Add signatures; with enough of them the change is made: 201, else 202."""
    signed = sign(context, publisher, role_files(body.roles))
    if signed.is_pending:
        response.status_code = HTTPStatus.ACCEPTED
    elif not signed.is_new:
        response.status_code = HTTPStatus.OK
    change = signed.change
    return SignedOut(kind=change.kind, name=change.name, pending=signed.is_pending)


@router.delete(PENDING, status_code=HTTPStatus.NO_CONTENT)
def take_back_pending(publisher: str, context: ContextHere) -> None:
    """Forget the change that waits."""
    cancel(context, publisher)
