"""The secrets of the containers: made once, whole, and for their owner's eyes."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from containers.provision import CERTIFICATE_DAYS, RENEWAL, provision
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from service.settings import Settings
from service.storage.online_keys import open_keys

NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)
HOSTS = ("service", "localhost", "127.0.0.1")
SECRETS = (
    "access/token",
    "tls/issued/server.key",
    "builder/builder.pem",
    "trust/issued/snapshot.pem",
    "safe/root-1.pem",
    "safe/targets.pem",
)
ONLINE = ("snapshot", "timestamp", "log", "oms")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The volumes, empty as on a first start."""
    return empty_volumes(tmp_path / "zoo")


def empty_volumes(root: Path) -> Path:
    for volume in ("access", "tls", "trust", "builder", "safe"):
        (root / volume).mkdir(parents=True)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_first_start_makes_what_everybody_needs(root: Path) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    assert set(contents(root)) == {
        "access/token",
        "access/authority.pem",
        "access/root.json",
        "access/worker.pub.pem",
        "tls/issued/authority.pem",
        "tls/issued/server.pem",
        "tls/issued/server.key",
        "builder/builder.pem",
        "builder/passphrase",
        *(f"trust/issued/{name}.pem" for name in ONLINE),
        "trust/issued/passphrase",
        "trust/issued/root.json",
        "trust/issued/targets.json",
        "trust/issued/trusted-keys.json",
        *(f"safe/{name}.pem" for name in ("root-1", "root-2", "root-3", "targets")),
        "safe/passphrase",
    }


def test_the_service_starts_with_its_keys_and_a_root_that_is_believed_anywhere(
    root: Path,
) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    keys = open_keys(root / "trust" / "issued", now=NOW)
    assert not keys.is_development
    assert keys.root == (root / "access" / "root.json").read_bytes()


@pytest.mark.parametrize("secret", [*SECRETS, "builder/passphrase"])
def test_a_secret_is_for_its_owner_alone(root: Path, secret: str) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    assert (root / secret).stat().st_mode & 0o777 == 0o600


def test_a_second_start_changes_nothing(root: Path) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    before = contents(root)
    provision(root, hosts=HOSTS, now=NOW + timedelta(days=1))
    assert contents(root) == before


def test_two_zoos_share_no_secret(root: Path, tmp_path: Path) -> None:
    other = empty_volumes(tmp_path / "other")
    for zoo in (root, other):
        provision(zoo, hosts=HOSTS, now=NOW)
    first, second = contents(root), contents(other)
    assert all(first[name] != second[name] for name in first)


def test_the_service_takes_the_token_beyond_loopback(root: Path) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    token = (root / "access" / "token").read_text()
    assert Settings(data_dir=root, host="0.0.0.0", token=token).token == token  # noqa: S104


def test_the_worker_opens_its_key_and_the_operator_has_its_public_half(
    root: Path,
) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    passphrase = (root / "builder" / "passphrase").read_bytes()
    key = SigningKey.load(root / "builder" / "builder.pem", passphrase=passphrase)
    assert PublicKey.load(root / "access" / "worker.pub.pem") == key.public


def test_key_and_certificate_fit_together(root: Path) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    issued = root / "tls" / "issued"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued / "server.pem", issued / "server.key")


def test_a_certificate_in_its_last_days_is_replaced_with_its_authority(
    root: Path,
) -> None:
    provision(root, hosts=HOSTS, now=NOW)
    before = contents(root)
    late = NOW + timedelta(days=CERTIFICATE_DAYS) - RENEWAL
    provision(root, hosts=HOSTS, now=late)
    after = contents(root)
    changed = {name for name in before if before[name] != after[name]}
    certificate = {f"tls/issued/{name}" for name in ("authority.pem", "server.pem")}
    assert changed == certificate | {"tls/issued/server.key", "access/authority.pem"}
    assert after["access/authority.pem"] == after["tls/issued/authority.pem"]


def test_a_start_that_was_killed_is_taken_up(root: Path) -> None:
    unfinished = root / "tls" / "unfinished"
    unfinished.mkdir()
    (unfinished / "server.pem").write_text("half a certif")
    (root / "tls" / "replaced").mkdir()
    (root / "builder" / "unfinished.pem").write_text("half a k")
    provision(root, hosts=HOSTS, now=NOW)
    assert [path.name for path in (root / "tls").iterdir()] == ["issued"]
    assert not (root / "builder" / "unfinished.pem").exists()
    test_key_and_certificate_fit_together(root)
