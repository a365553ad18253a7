"""TUF as clients read it, and where role versions are handed in.

What has a version in its name never changes; the timestamp alone is asked for anew.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from model_zoo.errors import MalformedDocumentError, NotFoundError
from model_zoo.names import ReleaseName
from model_zoo.tuf.roles import ROOT, TIMESTAMP
from service.api.schemas import AcceptedOut, LostOut, RolesIn
from service.context import Context
from service.http.dependencies import ContextHere
from service.http.files import blob_response
from service.releases.publish import find_release
from service.releases.withdrawals import require_not_itself_withdrawn
from service.repository import state
from service.repository.losses import lost_versions
from service.repository.pending import accept_or_hold
from service.repository.submit import is_operators, owner_of, renew, submit

router = APIRouter(tags=["trust"])
files = APIRouter(tags=["trust"])

_VERSIONED = re.compile(r"([1-9][0-9]{0,9})\.([a-z0-9._~-]{1,96})\.json", re.ASCII)
_TARGET = re.compile(r"(?:(.+)/)?([0-9a-f]{64})\.([^/]+)", re.ASCII)
_FOR_GOOD = "max-age=31536000, immutable"
_RELEASE_SEGMENTS = 3


def role_files(roles: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Return role name -> file of what a request carries as JSON.

    Raises:
        MalformedDocumentError: it holds what no metadata may, such as a NaN.
    """
    try:
        return {
            name: json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
            for name, value in roles.items()
        }
    except ValueError as error:
        msg = f"role metadata: {error}"
        raise MalformedDocumentError(msg) from error


@router.post("/trust/roles")
def submit_roles(
    body: RolesIn, response: Response, context: ContextHere
) -> AcceptedOut:
    """Make signed role versions current: root, targets, or a publisher's renewal.

    202 where a renewal lacks a co-signature: it is held until it has it.
    """
    if not is_operators(body.roles):
        return renew_body(context, body, response)
    given = role_files(body.files)
    return AcceptedOut(versions=submit(context, role_files(body.roles), files=given))


@router.get("/trust/lost")
def show_lost(context: ContextHere) -> LostOut:
    """Return role -> version that was served and lost: the next lies above it."""
    with context.database.reading() as session:
        return LostOut(versions=lost_versions(session))


def renew_body(context: Context, body: RolesIn, response: Response) -> AcceptedOut:
    """Renew what a request holds, or hold it; say in ``response`` which it was."""
    roles = role_files(body.roles)
    versions = accept_or_hold(
        context,
        lambda: renew(context, roles),
        kind="renewal",
        name=owner_of(roles),
        body=body.model_dump,
    )
    return accepted(versions, response)


def accepted(versions: dict[str, int] | None, response: Response) -> AcceptedOut:
    """Return the answer to a change: which versions are current, or that it waits."""
    if versions is None:
        response.status_code = HTTPStatus.ACCEPTED
        return AcceptedOut(versions={}, pending=True)
    return AcceptedOut(versions=versions)


@files.head("/tuf/metadata/{name}")
@files.get("/tuf/metadata/{name}")
def show_metadata(name: str, context: ContextHere) -> Response:
    """Return one version of a role, or the newest timestamp."""
    match = _VERSIONED.fullmatch(name)
    with context.database.reading() as session:
        if name == f"{TIMESTAMP}.json" or name.endswith(f".{ROOT}.json"):
            context.served.keep_up(session)  # what clients remember begins with these
        if name == f"{TIMESTAMP}.json":
            data = state.newest(session, TIMESTAMP)
        elif match is not None and match[2] != TIMESTAMP:
            data = state.version(session, match[2], int(match[1]))
        else:
            data = None
    if data is None:
        msg = f"no metadata {name[:80]!a}"
        raise NotFoundError(msg)
    cached = "no-cache" if match is None else _audience(context, _FOR_GOOD)
    return _json(data, cached)


@files.head("/tuf/targets/{path:path}")
@files.get("/tuf/targets/{path:path}")
def show_target(path: str, request: Request, context: ContextHere) -> Response:
    """Return a target by its path with its SHA-256 before the file's name."""
    match = _TARGET.fullmatch(path)
    if match is None:
        msg = f"no target {path[:80]!a}"
        raise NotFoundError(msg)
    folder, sha256, file = match[1] or "", match[2], match[3]
    with context.database.reading() as session:
        data = state.small_target(session, f"{folder}/{file}", sha256)
    if data is not None:
        return _json(data, _audience(context, _FOR_GOOD))
    return _weights(request, context, folder=folder, file=file, sha256=sha256)


def _weights(
    request: Request, context: Context, *, folder: str, file: str, sha256: str
) -> Response:
    names = folder.split("/")
    if len(names) == _RELEASE_SEGMENTS:
        require_not_itself_withdrawn(context, ReleaseName(*names))
        release = find_release(context, ReleaseName(*names))
        for entry in [] if release is None else release.upload.files:
            if (entry.name, entry.sha256) == (file, sha256):
                return blob_response(request, context, sha256, entry.size_bytes)
    msg = f"no target {folder[:80]!a}"
    raise NotFoundError(msg)


def _json(data: bytes, cache_control: str) -> Response:
    headers = {"Cache-Control": cache_control, "X-Content-Type-Options": "nosniff"}
    return Response(data, HTTPStatus.OK, headers, "application/json")


def _audience(context: Context, rule: str) -> str:
    return f"{'public' if context.settings.token is None else 'private'}, {rule}"
