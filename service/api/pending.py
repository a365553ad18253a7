"""Releases that wait for a co-signature, as their co-signers find and sign them."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from service.api.dependencies import PartsHere
from service.api.files import file_response
from service.api.models import publish_body
from service.api.schemas import PendingOut, ReleaseIn, ReleaseOut, RolesIn
from service.pending import pending, take_back, with_signatures
from service.uploads import find_upload

router = APIRouter(tags=["pending"])
PENDING = "/publishers/{publisher}/pending"


@router.get(PENDING)
def show_pending(publisher: str, parts: PartsHere) -> PendingOut:
    """Return the release of a publisher that lacks signatures, as it was sent."""
    name, body = pending(parts, publisher)
    return PendingOut(name=str(name), **ReleaseIn.model_validate(body).model_dump())


@router.get(PENDING + "/files/{file}")
def download_pending_file(
    publisher: str, file: str, request: Request, parts: PartsHere
) -> Response:
    """Return a file of the release that waits: nobody has to sign it unseen."""
    _, body = pending(parts, publisher)
    return file_response(request, parts, find_upload(parts, body["upload"]), file)


@router.post(PENDING + "/signatures", status_code=HTTPStatus.CREATED)
def sign_pending(
    publisher: str, response: Response, body: RolesIn, parts: PartsHere
) -> ReleaseOut:
    """Add signatures; with enough of them the release is published: 201, else 202."""
    name, held = pending(parts, publisher)
    merged = ReleaseIn.model_validate(with_signatures(held, body.roles))
    return publish_body(parts, name, merged, response)


@router.delete(PENDING, status_code=HTTPStatus.NO_CONTENT)
def take_back_pending(publisher: str, parts: PartsHere) -> None:
    """Forget the release that waits."""
    take_back(parts, publisher)
