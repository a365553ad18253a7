"""Digests of files elsewhere: fetched only when told to, hashed, and thrown away.

The URLs come from a stranger's list. So only https is spoken, or plain http to this
machine; no proxy, cookie or token is used; addresses of inner networks are refused;
redirects are few, never lead to this machine, and each is judged like the first URL.
Nothing of an answer is kept or told but its digests.
"""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, urljoin, urlsplit

from model_zoo.errors import InvalidSpecError, TransportError
from model_zoo.http.client import HttpClient, Request, Response
from model_zoo.http.deadlines import Allowance, DownloadLimits
from model_zoo.http.hosts import is_loopback, is_public, require_public_peer
from model_zoo.http.server import Server
from model_zoo.text import printable

MAX_REDIRECTS = 5
LIMITS = DownloadLimits(answer_seconds=600.0)
"""A stranger's file need not be had at any price: so long for all of it."""
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_SAFE = "!#$%&'()*+,-./:;=?@[]_~"
"""What stands in a URL as it is (RFC 3986); anything else is percent-encoded."""


def remote_digests(
    url: str,
    algorithms: Collection[str],
    *,
    limit_bytes: int,
    limits: DownloadLimits = LIMITS,
) -> dict[str, str]:
    """Return algorithm -> hexadecimal digest of the file at ``url``.

    Args:
        url: from anyone.
        algorithms: names that ``hashlib`` knows.
        limit_bytes: of a longer file nothing is said.
        limits: how slow is too slow.

    Raises:
        InvalidSpecError: a URL that is not fetched, or redirected to.
        TransportError: it did not arrive, or is longer.
    """
    pieces = remote_file(url, limit_bytes=limit_bytes, limits=limits)
    return _hashed(pieces, algorithms)


def remote_file(
    url: str, *, limit_bytes: int, limits: DownloadLimits = LIMITS
) -> Iterator[bytes]:
    """Yield the file at ``url``, which anybody may have named, in pieces.

    Raises:
        InvalidSpecError: a URL that is not fetched, or redirected to.
        TransportError: it did not arrive, or is longer.
    """
    with _followed(url, limits) as response:
        count = 0
        for piece in response.pieces():
            count += len(piece)
            if count > limit_bytes:
                msg = f"{printable(url)}: over {limit_bytes} bytes"
                raise TransportError(msg)
            yield piece


@contextmanager
def _followed(url: str, limits: DownloadLimits) -> Iterator[Response]:
    """Yield the answer at the end of a few redirects, all within one allowance."""
    require_fetchable(url)
    allowance = Allowance(limits, url=printable(url))
    for _ in range(MAX_REDIRECTS + 1):
        with ExitStack() as stack:
            response = stack.enter_context(_asked(url, allowance))
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                if response.status != HTTPStatus.OK:
                    msg = f"{printable(url)}: HTTP status {response.status}"
                    raise TransportError(msg)
                yield response
                return
        url = _joined(url, location)
        require_fetchable(url, is_redirect=True)
    msg = f"{printable(url)}: more than {MAX_REDIRECTS} redirects"
    raise TransportError(msg)


@contextmanager
def _asked(url: str, allowance: Allowance) -> Iterator[Response]:
    """Yield the answer to one URL; no token of anybody's goes there."""
    parts = urlsplit(url)
    path = quote(parts._replace(scheme="", netloc="", fragment="").geturl(), safe=_SAFE)
    server = Server(parts._replace(path="", query="", fragment="").geturl())
    host = parts.hostname or ""
    # What a name leads to is judged where it is connected to: it may change at once.
    accepts = None if is_loopback(host) else partial(require_public_peer, host=host)
    request = Request(path=path if path.startswith("/") else f"/{path}")
    with (
        HttpClient(server, allowance.limits, accepts=accepts) as client,
        client.exchange(request, allowance) as response,
    ):
        yield response


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        msg = f"{printable(url)}: redirected to no URL: {printable(location)}"
        raise InvalidSpecError(msg) from error


def require_fetchable(url: str, *, is_redirect: bool = False) -> None:
    """Accept ``url`` if asking it gives a stranger no reach into this network.

    Raises:
        InvalidSpecError: another scheme than https, or than http on this machine; a
            user or password; an address that is not public; a redirect to here.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        has_user = parts.username is not None or parts.port == 0
    except ValueError as error:
        msg = f"{printable(url)}: no URL: {error}"
        raise InvalidSpecError(msg) from error
    here = is_loopback(host)
    is_spoken = parts.scheme == "https" or (parts.scheme == "http" and here)
    is_inner = (here and is_redirect) or (not here and not is_public(host))
    if not host or not is_spoken or is_inner or has_user:
        msg = f"{printable(url)}: not fetched: only https beyond this machine"
        raise InvalidSpecError(msg)


def _hashed(pieces: Iterator[bytes], algorithms: Collection[str]) -> dict[str, str]:
    hashes = {
        name: hashlib.new(name, usedforsecurity=False) for name in set(algorithms)
    }
    for piece in pieces:
        for it in hashes.values():
            it.update(piece)
    return {name: it.hexdigest() for name, it in hashes.items()}
