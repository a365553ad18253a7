"""The health check of the containers, against a real service over real TLS."""

import socket
import subprocess
import sys
from pathlib import Path

from containers.ready import is_ready
from model_zoo.clock import system_clock
from tests.service.test_serving import PATIENCE_SECONDS, serving
from trainer.lab.actors.certificates import ServerCertificate, issue


def certificate(folder: Path) -> ServerCertificate:
    folder.mkdir()
    return issue(folder, hosts=("127.0.0.1",), now=system_clock())


def asked(url: str, ca: Path, *options: str) -> int:
    """Return the exit code of the command that the health check runs."""
    command = [sys.executable, "-m", "containers.ready", *options]
    done = subprocess.run(
        [*command, f"--url={url}", f"--ca={ca}"],
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done.returncode


def test_a_service_is_ready_for_those_who_pin_its_authority(tmp_path: Path) -> None:
    tls, other = certificate(tmp_path / "tls"), certificate(tmp_path / "other")
    options = ("--tls-certificate", str(tls.chain), "--tls-key", str(tls.key))
    with serving(tmp_path, *options) as (url, _):
        assert asked(url, tls.authority) == 0
        assert not is_ready(url, ca=other.authority)
        assert not is_ready(url, ca=tmp_path / "missing.pem")


def test_a_service_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert asked(f"https://127.0.0.1:{port}", tls.authority, "--wait=0.1") == 1
