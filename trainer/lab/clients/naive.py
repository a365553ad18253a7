"""Downloads that check nothing but, at most, the server's certificate.

They exist only in the laboratory, to show what they let through; the client has none.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx

from model_zoo.errors import LocalError, TransportError, UntrustedServerError
from trainer.lab.actors.pages import MAX_PAGE_BYTES
from trainer.lab.actors.processes import WATCHDOG_SECONDS


def fetch(url: str, to: Path, *, ca: Path | None = None) -> None:
    """Write whatever ``url`` answers to ``to``.

    Raises:
        UntrustedServerError: the certificate was not issued by the pinned authority.
        TransportError: nothing arrived.
    """
    with to.open("wb") as file:
        for piece in _pieces(url, ca=ca):
            file.write(piece)


def fetch_page(url: str, *, ca: Path | None = None) -> str:
    """Return a page's text, cut at MAX_PAGE_BYTES.

    Raises:
        UntrustedServerError: the certificate was not issued by the pinned authority.
        TransportError: nothing arrived.
    """
    page = b"".join(_pieces(url, ca=ca))
    return page[:MAX_PAGE_BYTES].decode("utf-8", errors="replace")


def _pieces(url: str, *, ca: Path | None) -> Iterator[bytes]:
    context = ssl.create_default_context(cafile=ca)
    try:
        with httpx.stream(
            "GET", url, timeout=WATCHDOG_SECONDS, verify=context, trust_env=False
        ) as response:
            response.raise_for_status()
            yield from response.iter_bytes()
    except httpx.TimeoutException as error:
        msg = f"{url}: silent for {WATCHDOG_SECONDS:g} s, which is no attack of ours"
        raise LocalError(msg) from error
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
