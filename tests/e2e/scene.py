"""A zoo without workers of its own, and a trainer whose workers a test starts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks.processes import zoo_served
from model_zoo.client.zoo import ZooClient
from model_zoo.http.responses import Job
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.jobs import JobSpec
from tests.service import forked

PASSPHRASE = b"only for this test"
TRAINER = "lab"
STOP_SECONDS = 60


class Scene:
    """A zoo without workers of its own, and the means to run one beside it."""

    def __init__(self, folder: Path, url: str, client: ZooClient) -> None:
        self.folder = folder
        self.url = url
        self.client = client
        self.builder = SigningKey.generate()
        self.builder.save(folder / "builder.pem", passphrase=PASSPHRASE)
        (folder / "passphrase").write_bytes(PASSPHRASE)
        client.bind_trainer(TRAINER, self.builder.public)

    @contextmanager
    def worker(self, name: str = "scratch") -> Iterator[psutil.Process]:
        process = forked.zoo(
            "worker",
            f"--url={self.url}",
            f"--trainer={TRAINER}",
            f"--key={self.folder / 'builder.pem'}",
            f"--passphrase-file={self.folder / 'passphrase'}",
            f"--scratch={self.folder / name}",
            said=self.folder / "worker.log",
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.join(STOP_SECONDS)
            process.kill()
            process.join()

    def submit(self, spec: JobSpec) -> str:
        return self.client.submit(spec, trainer=TRAINER).id

    def wait_until(self, job: str, holds: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            found = self.client.job(job)
            if holds(found):
                return found
            time.sleep(0.05)
        pytest.fail(f"job stayed as it was: {self.client.job(job)}")


@contextmanager
def opened(folder: Path) -> Iterator[Scene]:
    """Yield a zoo that keeps its data in ``folder``, until the block ends."""
    with zoo_served(folder) as url, ZooClient(url) as client:
        yield Scene(folder, url, client)
