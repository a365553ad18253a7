"""Metadata over HTTP: bounded, timed, retried where that is safe, never redirected.

The bytes of large files do not pass here: see ``model_zoo.downloads``.
"""

import ipaddress
import ssl
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlencode, urlsplit

import httpx

from model_zoo import __version__, errors
from model_zoo.canonical import JsonObject, canonical_json, parse_object
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
    TransportError,
    UntrustedServerError,
    ZooError,
)

API = "/api/v1"
USER_AGENT = f"verified-model-zoo/{__version__}"
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
PAUSES_SECONDS = (0.1, 0.2, 0.4)
"""Between attempts: four of them outlast a server's restart, and then we say so."""
MAX_DETAIL_CHARACTERS = 2000

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_REDIRECTS = range(300, 400)
_SERVER_FAULT = 500
_BY_STATUS: Mapping[int, type[ZooError]] = {
    401: NotPermittedError,
    403: NotPermittedError,
    404: NotFoundError,
    409: ConflictError,
}
_BY_CODE: Mapping[str, type[ZooError]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, ZooError)
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where the zoo is, whose certificates it may show, and the token it asks for.

    Plain http is for loopback only: beyond it, anybody on the way could answer.
    ``ca`` is a PEM file; given, no other authority is believed.
    """

    url: str
    ca: Path | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if parts.username or parts.password or parts.query or parts.fragment:
            msg = "a zoo URL has no user, password, query or fragment"
            raise InvalidSpecError(msg)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            msg = (
                f"{self.url}: plain http is refused beyond this machine, "
                "where anybody on the way could answer; use https"
            )
            raise InvalidSpecError(msg)
        if parts.scheme == "http" and self.ca is not None:
            msg = f"{self.url}: a pinned authority needs an https URL"
            raise InvalidSpecError(msg)
        if self.token is not None and not (
            self.token.isascii() and self.token.isprintable() and " " not in self.token
        ):
            msg = "a token is one line of printable ASCII without spaces"
            raise InvalidSpecError(msg)

    @property
    def parts(self) -> SplitResult:
        """The URL's scheme, host, port and path."""
        return _split(self.url)

    @property
    def base_path(self) -> str:
        """What stands before ``/api/v1`` in every request, without a last slash."""
        return self.parts.path.rstrip("/")

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries; encodings would make a length uncheckable."""
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def tls(self) -> ssl.SSLContext:
        """Return whom to believe: the pinned authority, or the system's.

        Raises:
            LocalError: the pinned authority cannot be read.
        """
        if self.parts.scheme == "http":
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            msg = f"cannot read authority {self.ca}: {error}"
            raise LocalError(msg) from error


class Transport:
    """Sends requests to one server and raises its refusals as our errors.

    Safe to share between threads; a context manager, and closed when collected.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._http = httpx.Client(
            base_url=server.url.rstrip("/"),
            headers=server.headers,
            verify=server.tls(),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
            follow_redirects=False,
        )
        self.close = weakref.finalize(self, self._http.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, **params: str) -> JsonObject:
        """Return the JSON object at ``path``."""
        query = f"?{urlencode(params)}" if params else ""
        return _object(self._exchange("GET", path + query), path=path)

    def send(self, method: str, path: str, body: JsonObject) -> JsonObject | None:
        """Send ``body`` as JSON and return the answer; None where there is no content.

        Raises:
            ZooError: what the server refused with, or the reason it was not reached.
        """
        answer = self._exchange(
            method,
            path,
            content=canonical_json(body),
            headers={"Content-Type": "application/json"},
        )
        return _object(answer, path=path) if answer.body else None

    def put_bytes(self, path: str, data: bytes, *, headers: Mapping[str, str]) -> None:
        """Store ``data`` at ``path``."""
        content_type = {"Content-Type": "application/octet-stream"}
        self._exchange("PUT", path, content=data, headers=content_type | dict(headers))

    def length_bytes(self, path: str) -> int:
        """Return how long the file at ``path`` says it is: a claim to be checked.

        Raises:
            MalformedDocumentError: it does not say.
        """
        text = self._exchange("HEAD", path).headers.get("Content-Length", "")
        if not (text.isascii() and text.isdecimal()):
            msg = f"{path}: the server tells no length"
            raise MalformedDocumentError(msg)
        return int(text)

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str]
    ) -> Iterator[Iterator[bytes]]:
        """Yield the body at ``path`` piece by piece, as it arrives."""
        with _told(self.server.url + path):
            request = self._http.build_request("GET", API + path, headers=dict(headers))
            response = self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    _answer(response)
                yield response.iter_raw()
            finally:
                response.close()

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "_Answer":
        """Ask, and ask again where that cannot do a thing twice."""
        request = self._http.build_request(
            method, API + path, content=content, headers=dict(headers or {})
        )
        for pause in PAUSES_SECONDS:
            try:
                return self._once(request)
            except TransportError as error:
                if method not in _IDEMPOTENT and not _never_reached(error):
                    raise
                time.sleep(pause)
        return self._once(request)

    def _once(self, request: httpx.Request) -> "_Answer":
        with _told(str(request.url)):
            response = self._http.send(request, stream=True)
            try:
                return _answer(response)
            finally:
                response.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    """A successful response, its body as it was sent."""

    headers: httpx.Headers
    body: bytes


HOW_TO_BE_ADMITTED = (
    "; the zoo's operator has its token: --token-file FILE or ZOO_TOKEN passes it on"
)


def refusal(status: int, body: bytes, *, url: str) -> ZooError:
    """Return the error that a response says, by its problem ``code`` or its status.

    Args:
        status: 300 to 599.
        body: problem details (RFC 9457) or anything else.
        url: what was asked, for the message.
    """
    if status in _REDIRECTS:
        return InvalidSpecError(f"{url}: answered with a redirect, never followed")
    try:
        problem = parse_object(body, limit_bytes=MAX_RESPONSE_BYTES)
    except ValueError:
        problem = {}
    kind = _BY_CODE.get(str(problem.get("code")))
    if kind is None:
        by_default = TransportError if status >= _SERVER_FAULT else InvalidSpecError
        kind = _BY_STATUS.get(status, by_default)
    detail = problem.get("detail") or problem.get("title") or f"HTTP status {status}"
    hint = HOW_TO_BE_ADMITTED if status == HTTPStatus.UNAUTHORIZED else ""
    return kind.__new__(kind, f"{printable(str(detail))} ({url}){hint}")


def printable(text: str) -> str:
    """Return a stranger's ``text`` cut short and without terminal control codes."""
    return "".join(
        letter if letter.isprintable() else "?"
        for letter in text[:MAX_DETAIL_CHARACTERS]
    )


def _answer(response: httpx.Response) -> _Answer:
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > MAX_RESPONSE_BYTES:
            msg = f"{response.url}: an answer of over {MAX_RESPONSE_BYTES} bytes"
            raise MalformedDocumentError(msg)
    if not response.is_success:
        raise refusal(response.status_code, bytes(body), url=str(response.url))
    return _Answer(response.headers, bytes(body))


def _object(answer: _Answer, *, path: str) -> JsonObject:
    try:
        return parse_object(answer.body, limit_bytes=MAX_RESPONSE_BYTES)
    except ValueError as error:
        msg = f"{path}: the server's answer: {error}"
        raise MalformedDocumentError(msg) from error


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Raise httpx's errors as ours."""
    try:
        yield
    except httpx.HTTPError as error:
        if isinstance(_root_cause(error), ssl.SSLCertVerificationError):
            raise untrusted(url, _root_cause(error)) from error
        msg = f"{url}: {str(error) or type(error).__name__}"
        raise TransportError(msg) from error


def untrusted(url: str, cause: BaseException) -> UntrustedServerError:
    """Return the refusal of a server whose certificate nobody believed vouches for."""
    reason = getattr(cause, "verify_message", str(cause))
    msg = f"{url}: the server's certificate is not trusted: {reason}; nothing was sent"
    return UntrustedServerError(msg)


def _root_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _never_reached(error: TransportError) -> bool:
    return isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_sane = parts.port != 0
    except ValueError:
        parts, port_is_sane = SplitResult("", "", "", "", ""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_sane:
        msg = f"zoo URL {url[:200]!a}: expected https://HOST or http://127.0.0.1:PORT"
        raise InvalidSpecError(msg)
    return parts


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine and no other."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
