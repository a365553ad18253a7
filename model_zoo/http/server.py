"""Where a zoo is, and whom to believe that it is there. ADR 8."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from model_zoo import __version__
from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.http.hosts import is_loopback

USER_AGENT = f"verified-model-zoo/{__version__}"


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
