"""Middleware that refuses foreign hosts and sites, missing tokens and large bodies.

The service trusts whoever reaches it on loopback, and so does every page that a
browser on this machine has open. A page elsewhere can send simple posts, and can point
its own name at 127.0.0.1; it can set neither a JSON content type without being asked
for permission first, nor a Host or Origin that is not its own.

ADR 8: a service on loopback needs no token.
"""

import hmac
import math
import re
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_zoo.canonical import require_spellable
from service.http.errors import Problem, refusal
from service.settings import Settings

PART = re.compile(r"/api/v1/uploads/[^/]+/files/[^/]+/parts/[^/]+")
MAX_BODY_DEPTH = 24
"""Less than readers take (MAX_DEPTH): an answer wraps levels of its own around it."""
MAX_LENGTH_DIGITS = 19
"""What 64 bits need; Python refuses to read thousands, zeros in front included."""
OPEN_PATHS = ("/healthz", "/readyz")
STRANGER = "zoo.is_stranger"
"""In a request's state: whether it has no token where one is needed."""
READING = ("GET", "HEAD", "OPTIONS")


class Guards:
    """Pure ASGI: no request is read further than its head before it may enter."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a problem, or pass the request on with its body bounded."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        limit = self._limit(path)
        scope.setdefault("state", {})[STRANGER] = not self._is_known(headers)
        problem = next(self._problems(scope["method"], path, headers), None)
        if problem is not None:
            await problem(scope, receive, send)
        else:
            receive = _bounded(receive, limit)
            if PART.fullmatch(path) is None:
                receive = _shallow(receive)
            await self._app(scope, receive, send)

    def _limit(self, path: str) -> int:
        is_part = PART.fullmatch(path) is not None
        return self._settings.part_bytes if is_part else self._settings.max_body_bytes

    def _problems(self, method: str, path: str, headers: Headers) -> Iterator[Problem]:
        if not self._is_our_host(headers):
            detail = "this Host is not on the allow-list (see --allowed-host)"
            yield refusal(path, HTTPStatus.BAD_REQUEST, detail)
        if path not in OPEN_PATHS and not self._is_known(headers):
            detail = "send the service's token: Authorization: Bearer TOKEN"
            challenge = {"WWW-Authenticate": "Bearer"}
            yield refusal(path, HTTPStatus.UNAUTHORIZED, detail, headers=challenge)
        if method not in READING:
            yield from self._writing_problems(path, headers)

    def _writing_problems(self, path: str, headers: Headers) -> Iterator[Problem]:
        origin = headers.get("origin")
        if origin is not None and _host_in(origin) not in self._settings.hosts:
            detail = "a page of another site may not write here"
            yield refusal(path, HTTPStatus.FORBIDDEN, detail)
        wanted = "application/octet-stream" if PART.fullmatch(path) else None
        wanted = wanted or "application/json"
        if _has_body(headers) and _media_type(headers) != wanted:
            detail = f"expected a body of type {wanted}"
            yield refusal(path, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
        length = headers.get("content-length", "0")
        if _number(length) > self._limit(path):
            detail = f"a body of at most {self._limit(path)} bytes is read here"
            yield refusal(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)

    def _is_our_host(self, headers: Headers) -> bool:
        hosts = headers.getlist("host")
        return len(hosts) == 1 and _host_of(hosts[0]) in self._settings.hosts

    def _is_known(self, headers: Headers) -> bool:
        token = self._settings.token
        if token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # In constant time: how long a comparison takes would tell how much was right.
        same = hmac.compare_digest(given.strip().encode(), token.encode())
        return scheme.lower() == "bearer" and same


def _bounded(receive: Receive, limit: int) -> Receive:
    """Return ``receive`` that stops a body which grows past its limit."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            detail = f"a body of at most {limit} bytes is read here"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        return message

    return counted


def _shallow(receive: Receive) -> Receive:
    """Return ``receive`` that refuses JSON nested too deep or without canonical form.

    It is refused before the route parses it: what is stored can always be answered.
    """
    pieces: list[bytes] = []

    async def looked_at() -> Message:
        message = await receive()
        pieces.append(message.get("body", b""))
        if message["type"] == "http.request" and not message.get("more_body"):
            try:
                require_spellable(b"".join(pieces), max_depth=MAX_BODY_DEPTH)
            except ValueError as error:
                raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from error
            pieces.clear()
        return message

    return looked_at


def _host_of(authority: str) -> str:
    """Return the host in ``host``, ``host:port`` or ``[v6]:port``, lower case."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()


def _host_in(origin: str) -> str | None:
    """Return the host of an origin; None where it is none."""
    try:
        return _host_of(urlsplit(origin).netloc)
    except ValueError:  # a bracket that stays open
        return None


def _number(length: str) -> float:
    """Return a Content-Length; more than any limit where it is none that we read."""
    readable = length.isdecimal() and len(length) <= MAX_LENGTH_DIGITS
    return int(length) if readable else math.inf


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
