"""What a server's refusal is to a client: an error by its status, and one line of text.

A server may say why it refused, and not what its client has established: of the errors
that a client raises about its own checks, keys, root or disk, none can be asked for.
"""

from collections.abc import Mapping
from http import HTTPStatus

from model_zoo.canonical import JsonObject, parse_object
from model_zoo.errors import (
    ConflictError,
    DigestMismatchError,
    InvalidSpecError,
    LengthMismatchError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
    ProvenanceMismatchError,
    TransportError,
    UnsafeFormatError,
    VerificationError,
    WrongReleaseError,
    YankedError,
    ZooError,
)
from model_zoo.text import printable

MAX_REFUSAL_BYTES = 64 * 1024
MAX_DETAIL_CHARACTERS = 2000
HOW_TO_BE_ADMITTED = (
    "; the zoo's operator has its token: --token-file FILE or ZOO_TOKEN passes it on"
)

_REDIRECTS = range(300, 400)
_CLIENT_FAULT = range(400, 500)
_BY_STATUS: Mapping[int, type[ZooError]] = {
    HTTPStatus.UNAUTHORIZED: NotPermittedError,
    HTTPStatus.FORBIDDEN: NotPermittedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: YankedError,
    HTTPStatus.UNPROCESSABLE_ENTITY: VerificationError,
}
"""Of other statuses, those from 400 are ``InvalidSpecError``, the rest the server's."""
_OF_WHAT_WAS_SENT: Mapping[str, type[VerificationError]] = {
    kind.__name__: kind
    for kind in (
        DigestMismatchError,
        LengthMismatchError,
        MalformedDocumentError,
        ProvenanceMismatchError,
        UnsafeFormatError,
        WrongReleaseError,
    )
}
"""What a 422 may say, by the problem's ``code``, of what this client has sent there."""


def refusal(status: int, body: bytes, *, url: str) -> ZooError:
    """Return the error that an answer other than a success is.

    Args:
        status: any but a success.
        body: problem details (RFC 9457) or anything else.
        url: what was asked, for the message.
    """
    if status in _REDIRECTS:
        return InvalidSpecError(f"{url}: answered with a redirect, never followed")
    problem = _problem(body)
    by_default = InvalidSpecError if status in _CLIENT_FAULT else TransportError
    kind = _BY_STATUS.get(status, by_default)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        kind = _OF_WHAT_WAS_SENT.get(str(problem.get("code")), kind)
    detail = problem.get("detail") or problem.get("title") or f"HTTP status {status}"
    shown = printable(str(detail), limit=MAX_DETAIL_CHARACTERS)
    hint = HOW_TO_BE_ADMITTED if status == HTTPStatus.UNAUTHORIZED else ""
    return kind(f"{shown} ({url}){hint}")


def _problem(body: bytes) -> JsonObject:
    try:
        return parse_object(body, limit_bytes=MAX_REFUSAL_BYTES)
    except ValueError:
        return {}
