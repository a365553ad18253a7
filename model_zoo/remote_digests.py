"""Digests of files elsewhere: fetched only when told to, hashed, and thrown away.

The URLs come from a stranger's list. So only https is spoken, or plain http to this
machine; no proxy, cookie or token is used; addresses of inner networks are refused;
redirects are few, never lead to this machine, and each is judged like the first URL.
Nothing of an answer is kept or told but its digests.
"""

import hashlib
import ssl
import time
from collections.abc import Collection, Iterator
from urllib.parse import urljoin, urlsplit

import httpx

from model_zoo.errors import InvalidSpecError, TransportError
from model_zoo.hosts import (
    is_loopback,
    is_public,
    require_public,
    require_public_peer,
)
from model_zoo.text import printable
from model_zoo.transport import (
    CONNECT_SECONDS,
    READ_SECONDS,
    USER_AGENT,
)

HTTPS_PORT = 443
MAX_REDIRECTS = 5
MAX_SECONDS = 600.0


def remote_digests(
    url: str, algorithms: Collection[str], *, limit_bytes: int
) -> dict[str, str]:
    """Return algorithm -> hexadecimal digest of the file at ``url``.

    Args:
        url: from anyone.
        algorithms: names that ``hashlib`` knows.
        limit_bytes: of a longer file nothing is said.

    Raises:
        InvalidSpecError: a URL that is not fetched, or redirected to.
        TransportError: it did not arrive, or is longer.
    """
    deadline = time.monotonic() + MAX_SECONDS
    try:
        with httpx.Client(
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            verify=ssl.create_default_context(),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
            follow_redirects=False,
        ) as http:
            return _followed(
                http, url, algorithms, limit_bytes=limit_bytes, deadline=deadline
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        msg = f"{printable(url)}: {printable(str(error)) or type(error).__name__}"
        raise TransportError(msg) from error


def _followed(
    http: httpx.Client,
    url: str,
    algorithms: Collection[str],
    *,
    limit_bytes: int,
    deadline: float,
) -> dict[str, str]:
    require_fetchable(url)
    for _ in range(MAX_REDIRECTS + 1):
        _require_outside(url)
        with http.stream("GET", url) as response:
            _require_peer_outside(response)
            if not response.has_redirect_location:
                if not response.is_success:
                    msg = f"{printable(url)}: HTTP status {response.status_code}"
                    raise TransportError(msg)
                pieces = _bounded(response, limit_bytes=limit_bytes, deadline=deadline)
                return _hashed(pieces, algorithms)
            url = _joined(url, response.headers["location"])
        require_fetchable(url, is_redirect=True)
    msg = f"{printable(url)}: more than {MAX_REDIRECTS} redirects"
    raise TransportError(msg)


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


def _require_outside(url: str) -> None:
    """Accept a host that leads out of this network, or is spelled as this machine.

    Raises:
        InvalidSpecError: it leads inside under another name.
        TransportError: there is no such host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not is_loopback(host):
        require_public(host, parts.port or HTTPS_PORT)


def _require_peer_outside(response: httpx.Response) -> None:
    """Accept an answer from the outside: a name may lead elsewhere a moment later.

    Raises:
        InvalidSpecError: it came from inside.
    """
    stream = response.extensions["network_stream"]
    address = stream.get_extra_info("server_addr")[0]
    if not is_loopback(response.url.host):
        require_public_peer(address, host=response.url.host)


def _bounded(
    response: httpx.Response, *, limit_bytes: int, deadline: float
) -> Iterator[bytes]:
    count = 0
    for piece in response.iter_raw():
        count += len(piece)
        if count > limit_bytes or time.monotonic() > deadline:
            msg = f"over {limit_bytes} bytes, or over {MAX_SECONDS:.0f} seconds"
            raise TransportError(msg)
        yield piece


def _hashed(pieces: Iterator[bytes], algorithms: Collection[str]) -> dict[str, str]:
    hashes = {
        name: hashlib.new(name, usedforsecurity=False) for name in set(algorithms)
    }
    for piece in pieces:
        for it in hashes.values():
            it.update(piece)
    return {name: it.hexdigest() for name, it in hashes.items()}
