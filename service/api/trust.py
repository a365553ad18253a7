"""TUF as clients read it, and where signed role versions are submitted.

What has a version in its name never changes; the timestamp alone is asked for anew.
"""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.api.schemas import AcceptedOut, RolesIn
from service.http.dependencies import ContextHere
from service.http.files import blob_response, kept_for_good
from service.releases.cosigning import Renewal, renew
from service.releases.files import find_target
from service.repository import served
from service.repository.admin import is_operators, submit
from service.repository.validation import role_files

router = APIRouter(tags=["trust"])
files = APIRouter(tags=["trust"])
"""Mounted at the root: TUF's own paths."""


class LostOut(BaseModel):
    """The newest version of each role that was served and lost with the database."""

    versions: dict[str, int]


@router.post("/trust/roles")
def submit_roles(
    body: RolesIn, response: Response, context: ContextHere
) -> AcceptedOut:
    """Make signed role versions current: root, targets, or a publisher's renewal.

    202 where a renewal lacks a co-signature: it is held until it has it.
    """
    if is_operators(body.roles):
        given = role_files(body.files)
        versions = submit(context, role_files(body.roles), files=given)
        return AcceptedOut(versions=versions)
    renewed = renew(context, Renewal.read(body.model_dump()))
    if renewed is None:
        response.status_code = HTTPStatus.ACCEPTED
        return AcceptedOut(versions={}, pending=True)
    return AcceptedOut(versions=renewed)


@router.get("/trust/lost")
def show_lost(context: ContextHere) -> LostOut:
    """Return role -> version that was served and lost: the next lies above it."""
    return LostOut(versions=served.lost_versions(context))


@files.head("/tuf/metadata/{name}")
@files.get("/tuf/metadata/{name}")
def show_metadata(name: str, context: ContextHere) -> Response:
    """Return one version of a role, or the newest timestamp."""
    data = served.metadata_file(context, name)
    is_timestamp = name == served.TIMESTAMP_FILE
    caching = {"Cache-Control": "no-cache"} if is_timestamp else kept_for_good(context)
    return _json(data, caching)


@files.head("/tuf/targets/{path:path}")
@files.get("/tuf/targets/{path:path}")
def show_target(path: str, request: Request, context: ContextHere) -> Response:
    """Return a target by its path with its SHA-256 before the file's name."""
    found = find_target(context, path)
    if isinstance(found, bytes):
        return _json(found, kept_for_good(context))
    return blob_response(request, context, found)


def _json(data: bytes, caching: dict[str, str]) -> Response:
    headers = {"X-Content-Type-Options": "nosniff"} | caching
    return Response(data, HTTPStatus.OK, headers, "application/json")
