"""Problem details (RFC 9457): the one table from errors to HTTP status."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from model_zoo.documents import FOREWORD
from model_zoo.errors import (
    ConflictError,
    ExpectationError,
    InvalidSpecError,
    LocalError,
    NotFoundError,
    NotPermittedError,
    TransportError,
    VerificationError,
    YankedError,
    ZooError,
)
from service.storage.blobs import StorageFullError

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[ZooError], HTTPStatus] = {
    InvalidSpecError: HTTPStatus.BAD_REQUEST,
    NotPermittedError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    ExpectationError: HTTPStatus.UNPROCESSABLE_ENTITY,
    YankedError: HTTPStatus.GONE,
    VerificationError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TransportError: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    LocalError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ZooError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

CODES: dict[HTTPStatus, type[ZooError]] = {
    HTTPStatus.UNAUTHORIZED: NotPermittedError,
    HTTPStatus.FORBIDDEN: NotPermittedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.REQUEST_TIMEOUT: TransportError,
    HTTPStatus.SERVICE_UNAVAILABLE: TransportError,
}
"""The error a client should raise for a status that HTTP itself decides.

Any other refusal is of a request that makes no sense.
"""

_TEXT = {"type": "string"}
DESCRIPTION: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details (RFC 9457); code names the error",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        **dict.fromkeys(
                            ("type", "title", "detail", "instance", "code"), _TEXT
                        ),
                        "status": {"type": "integer"},
                        "errors": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        },
    }
}
"""OpenAPI's description of every answer that is not a success."""


class Problem(JSONResponse):
    """A response with problem details: a sentence for people, a code for programs."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        path: str,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        content: dict[str, Any] = {
            "type": f"urn:verified-model-zoo:problem:{code}",
            "title": status.phrase,
            "status": status.value,
            "detail": detail,
            "instance": path,
            "code": code,
        }
        if errors is not None:
            content["errors"] = errors
        # A cache that kept "no such root" would hide the root that comes next.
        fresh = {"Cache-Control": "no-store"} | (headers or {})
        super().__init__(content, status.value, fresh)


def status_of(error: ZooError) -> HTTPStatus:
    """Return the status of the nearest ancestor of ``error`` that has one."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def code_of(error: ZooError) -> str:
    """Return the name under which a client knows ``error``: one of model_zoo's."""
    return next(
        kind.__name__
        for kind in type(error).__mro__
        if kind.__module__ == ZooError.__module__
    )


def problem_of(path: str, error: ZooError) -> Problem:
    """Return ``error`` as problem details."""
    return Problem(path, status_of(error), code_of(error), str(error))


def refusal(
    path: str,
    status: HTTPStatus,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
) -> Problem:
    """Return the answer to a request that HTTP's own rules refuse."""
    server_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    code = CODES.get(status, LocalError if server_fault else InvalidSpecError)
    return Problem(path, status, code.__name__, detail, headers=headers)


def install(app: FastAPI) -> None:
    """Make ``app`` answer every failure with problem details."""
    app.add_exception_handler(ZooError, _zoo_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(OperationalError, _database_error)
    app.add_exception_handler(Exception, _unexpected)


def _zoo_error(request: Request, error: Exception) -> Problem:
    if not isinstance(error, ZooError):
        raise error
    return problem_of(request.url.path, error)


def _http_exception(request: Request, error: Exception) -> Problem:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    headers = None if error.headers is None else dict(error.headers)
    return refusal(request.url.path, status, str(error.detail), headers=headers)


def _validation_error(request: Request, error: Exception) -> Problem:
    """Name every wrong field, without sending the input back."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [
        {
            # A field's name and its message may quote the request, however long it is.
            "field": ".".join(str(part) for part in item["loc"])[:200],
            "message": str(item["msg"]).removeprefix(FOREWORD)[:400],
        }
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors[:8])
    return Problem(
        request.url.path,
        STATUS[InvalidSpecError],
        InvalidSpecError.__name__,
        detail,
        errors=errors,
    )


def _database_error(request: Request, error: Exception) -> Problem:
    """Return 507 for a full disk and 503 for a busy database, by SQLite's messages."""
    if "full" in str(getattr(error, "orig", "")):
        full = StorageFullError("the disk is full; free some space and try again")
        return problem_of(request.url.path, full)
    return refusal(
        request.url.path,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database is busy or away; try again",
        headers={"Retry-After": "1"},
    )


def _unexpected(request: Request, _error: Exception) -> Problem:
    """Say that we failed and nothing of how; the server's log has the rest."""
    detail = "the service failed; its log says why"
    return refusal(request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, detail)
