"""Downloads that check nothing but, at most, the server's certificate.

They exist only in the laboratory, to show what they let through; the client has none.
"""

import ssl
from pathlib import Path

import httpx

from model_zoo.errors import TransportError, UntrustedServerError
from trainer.lab.pages import MAX_PAGE_BYTES

TIMEOUT_SECONDS = 20.0


def fetch(url: str, to: Path, *, ca: Path | None = None) -> None:
    """Write whatever ``url`` answers to ``to``.

    Raises:
        UntrustedServerError: the certificate was not issued by the pinned authority.
        TransportError: nothing arrived.
    """
    to.write_bytes(_get(url, ca=ca))


def fetch_page(url: str, *, ca: Path | None = None) -> str:
    """Return a page's text, cut at MAX_PAGE_BYTES.

    Raises:
        UntrustedServerError: the certificate was not issued by the pinned authority.
        TransportError: nothing arrived.
    """
    return _get(url, ca=ca)[:MAX_PAGE_BYTES].decode("utf-8", errors="replace")


def _get(url: str, *, ca: Path | None) -> bytes:
    context = ssl.create_default_context(cafile=ca)
    try:
        return (
            httpx.get(url, timeout=TIMEOUT_SECONDS, verify=context, trust_env=False)
            .raise_for_status()
            .content
        )
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
