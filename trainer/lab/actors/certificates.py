"""A certificate authority of one certificate, so that TLS in the laboratory is real."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import trustme

OWNER_ONLY = 0o600
AUTHORITY = "Verified Model Zoo laboratory authority"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """PEM files: the authority to pin, the server's chain and its private key."""

    authority: Path
    chain: Path
    key: Path


def issue(
    folder: Path, *, hosts: tuple[str, ...], now: datetime, days: int = 1
) -> ServerCertificate:
    """Write a new authority and a server certificate of it into ``folder``.

    The authority's private key is forgotten at once: it signs this and nothing else.

    Args:
        folder: where the three files go; it must exist.
        hosts: DNS names or IP addresses that the certificate is for.
        now: an aware time; validity starts an hour before it.
        days: how long the certificate holds.
    """
    files = ServerCertificate(
        folder / "authority.pem", folder / "server.pem", folder / "server.key"
    )
    authority = trustme.CA(organization_name=AUTHORITY)
    server = authority.issue_cert(
        *hosts,
        common_name=hosts[0],
        not_before=now - timedelta(hours=1),
        not_after=now + timedelta(days=days),
    )
    authority.cert_pem.write_to_path(files.authority)
    files.chain.write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
    files.key.touch(mode=OWNER_ONLY)
    server.private_key_pem.write_to_path(files.key)
    return files
