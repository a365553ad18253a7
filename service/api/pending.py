"""Changes that wait for a co-signature, as their co-signers find and sign them."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from model_zoo.errors import NotFoundError
from model_zoo.names import ReleaseName
from service.api.models import publish_body, yank_body
from service.api.schemas import (
    AcceptedOut,
    PendingOut,
    ReleaseIn,
    ReleaseOut,
    RolesIn,
    SignedOut,
    YankIn,
)
from service.api.trust import renew_body, role_files
from service.context import Context
from service.http.dependencies import ContextHere
from service.http.files import file_response
from service.repository.pending import (
    Kind,
    PendingChange,
    pending,
    take_back,
    with_signatures,
)
from service.uploads.sessions import find_upload

router = APIRouter(tags=["pending"])
PENDING = "/publishers/{publisher}/pending"

SendAgain = Callable[[Context, PendingChange, Response], ReleaseOut | AcceptedOut]


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
    change = pending(context, publisher)
    if change.kind != "release":
        msg = f"no release of {publisher} waits, but the {change.kind} of {change.name}"
        raise NotFoundError(msg)
    return file_response(
        request, context, find_upload(context, change.body["upload"]), file
    )


@router.post(PENDING + "/signatures", status_code=HTTPStatus.CREATED)
def sign_pending(
    publisher: str, response: Response, body: RolesIn, context: ContextHere
) -> SignedOut:
    """Add signatures; with enough of them the change is made: 201, else 202."""
    change = pending(context, publisher)
    signed = with_signatures(context, change, role_files(body.roles))
    answer = SEND_AGAIN[change.kind](context, signed, response)
    return SignedOut(kind=change.kind, name=change.name, pending=answer.pending)


@router.delete(PENDING, status_code=HTTPStatus.NO_CONTENT)
def take_back_pending(publisher: str, context: ContextHere) -> None:
    """Forget the change that waits."""
    take_back(context, publisher)


def _publish(context: Context, change: PendingChange, response: Response) -> ReleaseOut:
    body = ReleaseIn.model_validate(change.body)
    return publish_body(context, ReleaseName.parse(change.name), body, response)


def _yank(context: Context, change: PendingChange, response: Response) -> AcceptedOut:
    body = YankIn.model_validate(change.body)
    return yank_body(context, ReleaseName.parse(change.name), body, response)


def _renew(context: Context, change: PendingChange, response: Response) -> AcceptedOut:
    return renew_body(context, RolesIn.model_validate(change.body), response)


SEND_AGAIN: Mapping[Kind, SendAgain] = {
    "release": _publish,
    "yank": _yank,
    "renewal": _renew,
}
"""By kind of change: the request as if it came now, with the signatures it has."""
