"""A zoo whose disk is full refuses, keeps what it has, and goes on.

On a disk that is really full where root may mount a small one; elsewhere files are
limited in size (RLIMIT_FSIZE), which the same code must survive. Never skipped.
"""

import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.errors import TransportError
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Severity
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from model_zoo.tuf.publisher_roles import renewed, sign_roles
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import safetensors, write_files
from tests.model_zoo.servers import NO_AUTHORITY, anchor_of
from tests.service.roles import as_json, publisher_roles
from trainer.lab.actors.processes import running, wait_for_ready

DISK_BYTES = 6 * 1024 * 1024
TOO_MANY_BYTES = 2 * DISK_BYTES
PAGE_BYTES = 4096
MANY = 400
"""Renewals that no disk of this size takes, if none of it is free."""
ALICE = SigningKey.generate()
POLICY = Policy(publisher=Role("publisher", (ALICE.public,)))


@dataclass
class SmallZoo:
    """A service with little room, and a way to leave it none."""

    client: ZooClient
    url: str
    disk: Path
    pid: int
    is_mounted: bool

    def fill(self) -> None:
        """Leave no byte free; where the disk is not ours, forbid longer files."""
        if not self.is_mounted:
            limits = (PAGE_BYTES, DISK_BYTES)
            psutil.Process(self.pid).rlimit(resource.RLIMIT_FSIZE, limits)
            return
        with suppress(OSError), (self.disk / "filler").open("wb", 0) as filler:
            while filler.write(bytes(PAGE_BYTES)):
                pass

    def free(self) -> None:
        """Give the room back."""
        (self.disk / "filler").unlink(missing_ok=True)
        if not self.is_mounted:
            limits = (DISK_BYTES, DISK_BYTES)
            psutil.Process(self.pid).rlimit(resource.RLIMIT_FSIZE, limits)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, verify=NO_AUTHORITY)

    def renew(self) -> httpx.Response:
        """Sign alice's role once more: nothing but metadata is written."""
        role = renewed(publisher_roles(self.get, "alice"), now=system_clock())
        body = {"roles": as_json(sign_roles(role, ALICE))}
        url = f"{self.url}/api/v1/trust/roles"
        return httpx.post(
            url, json=body, trust_env=False, timeout=60, verify=NO_AUTHORITY
        )


def _mounted(disk: Path) -> bool:
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs"]
    return (
        mount is not None
        and subprocess.run(
            [*command, str(disk)], capture_output=True, check=False
        ).returncode
        == 0
    )


def _unmount(disk: Path) -> None:
    subprocess.run([str(shutil.which("umount")), str(disk)], check=True)


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[SmallZoo]:
    """The service on a disk of a few MiB, with one release on it."""
    disk, ready, log = tmp_path / "disk", tmp_path / "ready.json", tmp_path / "zoo.log"
    disk.mkdir()
    with ExitStack() as stack:
        is_mounted = _mounted(disk)
        if is_mounted:
            stack.callback(_unmount, disk)
        arguments = ["model_zoo", "serve", f"--data-dir={disk}", "--port=0"]
        arguments += ["--workers=0", f"--ready-file={ready}"]
        process = stack.enter_context(running(arguments, log=log))
        url = wait_for_ready(ready, process=process, log=log)["url"]
        if not is_mounted:
            limits = (DISK_BYTES, DISK_BYTES)
            psutil.Process(process.pid).rlimit(resource.RLIMIT_FSIZE, limits)
        anchor = anchor_of(disk, cache=tmp_path / "seen")
        client = stack.enter_context(ZooClient(url, anchor=anchor))
        client.bind_publisher("alice", ALICE.public)
        client.publish("alice/digits@1", write_files(tmp_path / "small"), key=ALICE)
        yield SmallZoo(client, url, disk, process.pid, is_mounted)


def test_what_does_not_fit_is_refused_whole_and_the_zoo_goes_on(
    zoo: SmallZoo, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.mkdir()
    count = TOO_MANY_BYTES // 4
    header = {"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    data = struct.pack("<f", 1.0) * count
    (large / "model.safetensors").write_bytes(safetensors(header, data))

    with pytest.raises(TransportError, match=r"(?i)space|large|full"):
        zoo.client.publish("alice/digits@2", large, key=ALICE)

    (listed,) = zoo.client.models()
    assert listed.versions == ("1",)
    assert not list(zoo.disk.rglob("*.part"))
    zoo.client.pull("alice/digits@1", policy=POLICY, to=tmp_path / "pulled")


def test_a_disk_that_fills_while_roles_are_signed_leaves_the_last_step_whole(
    zoo: SmallZoo, tmp_path: Path
) -> None:
    zoo.fill()
    answers = (zoo.renew() for _ in range(MANY))
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code in {500, 507}
    assert refused.json()["code"] == "LocalError"

    fresh = Anchor(root=zoo.client.anchor.root, cache=tmp_path / "fresh")
    with ZooClient(zoo.url, anchor=fresh) as stranger:
        stranger.pull("alice/digits@1", policy=Policy(), to=tmp_path / "pulled")
    zoo.free()

    assert zoo.renew().status_code == 200
    zoo.client.publish("alice/digits@2", write_files(tmp_path / "more"), key=ALICE)
    findings = check_repository(
        Server(zoo.url), Extent(pinned=fresh.root, deep=True), clock=system_clock
    )
    assert [it for it in findings if it.severity is Severity.FAILURE] == []


def test_a_zoo_that_cannot_even_start_says_why(tmp_path: Path) -> None:
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({4096}, {4096}))"
    code = (
        f"import resource; {limit}\n"
        "from model_zoo.cli import main\n"
        f"main(['serve', '--data-dir', {str(tmp_path / 'zoo')!r}, '--port', '0'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "zoo:" in run.stderr
