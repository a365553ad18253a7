"""Make what the containers keep from each other and from the world, once.

Five folders, each a volume, so that a container sees no more than it needs:
``access`` for all who speak to the service (its token, the authority and the trust
root to pin, the worker's public key), ``tls`` and ``trust`` (the online keys) for the
service alone, ``builder`` for the worker alone, ``safe`` (root and targets keys) for
the operator alone. What is there already stays as it is.

Run as ``python -m containers.provision ROOT HOST...``.
"""

import secrets
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from model_zoo.cli.output import say
from model_zoo.clock import system_clock
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Role
from model_zoo.tuf.online import ROOT_FILE, make_server_folder, write_first
from model_zoo.tuf.roles import sign
from trainer.files import read_bytes, write_whole
from trainer.lab.actors.certificates import issue

TOKEN_BYTES = 32
CERTIFICATE_DAYS = 365
RENEWAL = timedelta(days=30)
ROOT_HOLDERS = ("root-1", "root-2", "root-3")


def main() -> None:
    """Provision the folders under the first argument for the hosts after it."""
    root, *hosts = sys.argv[1:]
    provision(Path(root), hosts=tuple(hosts), now=system_clock())


def provision(root: Path, *, hosts: tuple[str, ...], now: datetime) -> None:
    """Make token, certificate and builder's key where they are missing.

    Each file appears whole and with mode 0600; a run that was killed is taken up by
    the next. A certificate in its last 30 days is replaced, and the service has to
    start anew to show the new one.

    Args:
        root: has the folders ``access``, ``tls``, ``trust``, ``builder`` and ``safe``.
        hosts: the names and addresses that the certificate is for.
        now: an aware time.

    Raises:
        LocalError: a folder cannot be written.
    """
    access, tls, builder = root / "access", root / "tls", root / "builder"
    _write_once(access / "token", secrets.token_urlsafe(TOKEN_BYTES))
    _provide_certificate(tls / "issued", hosts=hosts, now=now)
    write_whole(access / "authority.pem", read_bytes(tls / "issued" / "authority.pem"))
    _write_once(builder / "passphrase", secrets.token_urlsafe(TOKEN_BYTES))
    key = _provide_key(builder, "builder")
    _provide_trust(root / "trust", safe=root / "safe", now=now)
    pinned = read_bytes(root / "trust" / "issued" / ROOT_FILE)
    write_whole(access / ROOT_FILE, pinned)
    write_whole(access / "worker.pub.pem", key.public.to_pem().encode())
    say(f"token, certificate and builder's key are in place; keyid {key.public.keyid}")


def _write_once(path: Path, secret: str) -> None:
    if not path.exists():
        write_whole(path, secret.encode())


def _provide_certificate(
    folder: Path, *, hosts: tuple[str, ...], now: datetime
) -> None:
    """Have a set of one authority in ``folder``: it is renamed into place together."""
    if folder.exists() and _expiry(folder / "server.pem") - now > RENEWAL:
        return
    unfinished, replaced = (folder.with_name(n) for n in ("unfinished", "replaced"))
    for leftover in (unfinished, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir()
    issue(unfinished, hosts=hosts, now=now, days=CERTIFICATE_DAYS)
    if folder.exists():
        folder.rename(replaced)
    unfinished.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _expiry(chain: Path) -> datetime:
    return x509.load_pem_x509_certificate(read_bytes(chain)).not_valid_after_utc


def _provide_trust(folder: Path, *, safe: Path, now: datetime) -> None:
    """Hold the ceremony in one place: fit for a laboratory, not for a real zoo.

    The server's set is renamed into place together; the offline keys stay in ``safe``.
    """
    _write_once(safe / "passphrase", secrets.token_urlsafe(TOKEN_BYTES))
    holders = [_provide_key(safe, name) for name in ROOT_HOLDERS]
    targets_key = _provide_key(safe, "targets")
    if (folder / "issued").exists():
        return
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    root, targets = make_server_folder(
        unfinished,
        root_keys=Role(keys=tuple(key.public for key in holders), threshold=2),
        targets_keys=Role(keys=(targets_key.public,)),
        now=now,
    )
    sign(root, *holders)
    sign(targets, targets_key)
    write_first(unfinished, root, targets)
    unfinished.rename(folder / "issued")


def _provide_key(folder: Path, name: str) -> SigningKey:
    path, unfinished = folder / f"{name}.pem", folder / "unfinished.pem"
    passphrase = read_bytes(folder / "passphrase")
    if not path.exists():
        unfinished.unlink(missing_ok=True)
        SigningKey.generate().save(unfinished, passphrase=passphrase)
        unfinished.rename(path)
    return SigningKey.load(path, passphrase=passphrase)


if __name__ == "__main__":
    main()
