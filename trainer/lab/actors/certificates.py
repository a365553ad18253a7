"""A certificate authority for an hour, so that TLS in the laboratory is real TLS."""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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
    period = (now - timedelta(hours=1), now + timedelta(days=days))
    authority_key = ec.generate_private_key(ec.SECP256R1())
    server_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, period)
    server = _server(
        server_key.public_key(), hosts, authority_key=authority_key, period=period
    )
    files.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files.chain.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=OWNER_ONLY)
    files.key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def _authority(
    key: ec.EllipticCurvePrivateKey, period: tuple[datetime, datetime]
) -> x509.Certificate:
    return (
        _builder(AUTHORITY, key.public_key(), period)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePublicKey,
    hosts: tuple[str, ...],
    *,
    authority_key: ec.EllipticCurvePrivateKey,
    period: tuple[datetime, datetime],
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        authority_key.public_key()
    )
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _builder(hosts[0], key, period)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(purpose, critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _builder(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    period: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(AUTHORITY))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
