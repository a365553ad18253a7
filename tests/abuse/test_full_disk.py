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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from model_zoo.client import ZooClient
from model_zoo.envelopes import Role
from model_zoo.errors import LocalError
from model_zoo.keys import SigningKey
from model_zoo.policy import VerificationPolicy
from tests.model_zoo.releases import safetensors, write_files
from tests.model_zoo.servers import anchor_of
from trainer.lab.processes import running, wait_for_ready

DISK_BYTES = 6 * 1024 * 1024
TOO_MANY_BYTES = 2 * DISK_BYTES
ALICE = SigningKey.generate()
POLICY = VerificationPolicy(publisher=Role("publisher", (ALICE.public,)))


@dataclass
class SmallZoo:
    client: ZooClient
    disk: Path


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
        yield SmallZoo(client, disk)


def test_what_does_not_fit_is_refused_whole_and_the_zoo_goes_on(
    zoo: SmallZoo, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.mkdir()
    count = TOO_MANY_BYTES // 4
    header = {"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    data = struct.pack("<f", 1.0) * count
    (large / "model.safetensors").write_bytes(safetensors(header, data))

    with pytest.raises(LocalError, match=r"(?i)space|large|full"):
        zoo.client.publish("alice/digits@2", large, key=ALICE)

    (listed,) = zoo.client.models()
    assert listed.versions == ("1",)
    assert not list(zoo.disk.rglob("*.part"))
    zoo.client.pull("alice/digits@1", policy=POLICY, to=tmp_path / "pulled")


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
