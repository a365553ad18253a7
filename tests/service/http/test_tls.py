"""The service over TLS: a real socket, a real authority, and files that do not fit."""

import shutil
from pathlib import Path

import httpx
import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.errors import UntrustedServerError
from model_zoo.keys.ed25519 import SigningKey
from tests.model_zoo.servers import NO_AUTHORITY
from tests.service.roles import make_real_root
from tests.service.test_serving import TOKEN, refused, serving
from trainer.lab.actors.certificates import ServerCertificate, issue


def certificate(folder: Path) -> ServerCertificate:
    folder.mkdir()
    return issue(folder, hosts=("127.0.0.1",), now=system_clock())


def options(chain: Path, key: Path) -> tuple[str, ...]:
    return ("--tls-certificate", str(chain), "--tls-key", str(key))


def test_a_client_that_pins_the_authority_is_served(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    with serving(tmp_path, *options(tls.chain, tls.key)) as (url, _):
        assert url.startswith("https://127.0.0.1:")
        with ZooClient(url, ca=tls.authority) as zoo:
            bound = zoo.bind_trainer("resident", SigningKey.generate().public)
    assert bound.name == "resident"


def test_a_client_of_another_authority_turns_away(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    other = certificate(tmp_path / "other")
    with (
        serving(tmp_path, *options(tls.chain, tls.key)) as (url, _),
        ZooClient(url, ca=other.authority) as zoo,
        pytest.raises(UntrustedServerError),
    ):
        zoo.models()


def test_plain_http_gets_nothing_from_a_service_over_tls(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    with serving(tmp_path, *options(tls.chain, tls.key)) as (url, _):
        plain = url.replace("https:", "http:")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{plain}/healthz", trust_env=False, verify=NO_AUTHORITY)


def test_beyond_loopback_token_and_certificate_both_count(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    trust = make_real_root(tmp_path / "trust", now=system_clock())
    public = ("--host", "0.0.0.0", "--token-file", str(token_file))  # noqa: S104
    real = ("--trust-dir", str(trust))
    with serving(tmp_path, *public, *real, *options(tls.chain, tls.key)) as (url, _):
        with ZooClient(url, ca=tls.authority, token=TOKEN) as zoo:
            assert list(zoo.models()) == []
        assert url.startswith("https://127.0.0.1:")


@pytest.mark.parametrize("lacking", ["--tls-key", "--tls-certificate"])
def test_half_a_pair_is_refused(tmp_path: Path, lacking: str) -> None:
    tls = certificate(tmp_path / "tls")
    given = {"--tls-certificate": tls.chain, "--tls-key": tls.key}
    del given[lacking]
    code, words = refused(tmp_path, *(str(w) for pair in given.items() for w in pair))
    assert code == 2
    assert "go together" in words


def test_a_key_of_another_certificate_is_refused_by_name(tmp_path: Path) -> None:
    tls, other = certificate(tmp_path / "tls"), certificate(tmp_path / "other")
    code, words = refused(tmp_path, *options(tls.chain, other.key))
    assert code == 1
    assert "cannot use TLS certificate" in words
    assert not (tmp_path / "zoo").exists()


def test_a_certificate_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    tls.chain.unlink()
    code, words = refused(tmp_path, *options(tls.chain, tls.key))
    assert code == 1
    assert "No such file" in words


def test_a_locked_key_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    locked = tmp_path / "locked.pem"
    SigningKey.generate().save(locked, passphrase=b"correct horse")
    shutil.copyfile(locked, tls.key)
    code, words = refused(tmp_path, *options(tls.chain, tls.key))
    assert code == 1
    assert "cannot use TLS certificate" in words
