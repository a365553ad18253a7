"""Downloads that check nothing but, at most, the server's certificate.

They exist only in the laboratory, to show what they let through; the client has none.
"""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from model_zoo.errors import TransportError, UntrustedServerError
from trainer.lab.pages import MAX_PAGE_BYTES

TIMEOUT_SECONDS = 20.0
GIVE_UP_SECONDS = 5.0
"""What an honest mirror on this machine needs is a hundredth of it."""


class NeverEndedError(Exception):
    """A download went on and on; its user waits still, the laboratory does not."""


def fetch(url: str, to: Path, *, ca: Path | None = None) -> None:
    """Write whatever ``url`` answers to ``to``.

    Raises:
        UntrustedServerError: the certificate was not issued by the pinned authority.
        TransportError: nothing arrived.
        NeverEndedError: it did not end in GIVE_UP_SECONDS.
    """
    with to.open("wb") as file:
        for piece in _pieces(url, ca=ca):
            file.write(piece)


def fetch_page(url: str, *, ca: Path | None = None) -> str:
    """Return a page's text, cut at MAX_PAGE_BYTES.

    Raises:
        UntrustedServerError: the certificate was not issued by the pinned authority.
        TransportError: nothing arrived.
        NeverEndedError: it did not end in GIVE_UP_SECONDS.
    """
    page = b"".join(_pieces(url, ca=ca))
    return page[:MAX_PAGE_BYTES].decode("utf-8", errors="replace")


def _pieces(url: str, *, ca: Path | None) -> Iterator[bytes]:
    context = ssl.create_default_context(cafile=ca)
    deadline = time.monotonic() + GIVE_UP_SECONDS
    try:
        with httpx.stream(
            "GET", url, timeout=TIMEOUT_SECONDS, verify=context, trust_env=False
        ) as response:
            response.raise_for_status()
            for piece in response.iter_bytes():
                yield piece
                if time.monotonic() > deadline:
                    msg = f"{url}: no end after {GIVE_UP_SECONDS:g} s"
                    raise NeverEndedError(msg)
    except httpx.ConnectError as error:
        if isinstance(_root_cause(error), ssl.SSLCertVerificationError):
            msg = f"{url}: the certificate is not of the pinned authority"
            raise UntrustedServerError(msg) from error
        raise TransportError(str(error)) from error
    except httpx.HTTPError as error:
        raise TransportError(str(error)) from error


def _root_cause(error: BaseException) -> BaseException:
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error
