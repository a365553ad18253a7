"""The certificate a service shows, tried before a socket is opened."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from model_zoo.errors import InvalidSpecError, LocalError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files that fit together: the chain to show and its private key, unlocked.

    Raises:
        LocalError: one cannot be read, is no PEM, wants a passphrase, or they do not
            belong together.
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        self.context()

    def context(self) -> ssl.SSLContext:
        """Return a server's context with this certificate.

        Raises:
            LocalError: as above.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # An empty passphrase: a locked key is refused, nobody is asked for one.
            context.load_cert_chain(self.certificate, self.key, password="")
        except OSError as error:  # ssl.SSLError is one, too
            msg = (
                f"cannot use TLS certificate {self.certificate} with key {self.key}: "
                f"{error.strerror or 'they are not PEM files that fit together'}"
            )
            raise LocalError(msg) from error
        return context

    @classmethod
    def of(cls, certificate: Path | None, key: Path | None) -> Self | None:
        """Return the pair, or None where neither file is given.

        Raises:
            InvalidSpecError: one is given without the other.
            LocalError: they cannot be used.
        """
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            msg = "--tls-certificate and --tls-key go together: give both or neither"
            raise InvalidSpecError(msg)
        return cls(certificate, key)
