"""One large release on a zoo of its own, and the sides that fetch it."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ask, zoo_served
from benchmarks.repository.weights import write_weights
from model_zoo.canonical import JsonObject
from model_zoo.client.zoo import ZooClient
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.tuf.anchor import Anchor
from trainer.lab.clients import environments

GIGABYTE = 10**9
QUICK_BYTES = 4 * 10**6
RELEASE = "alice/big@1"
NAME = "model.safetensors"
HUB_NEEDS = ("huggingface_hub==2.4.0",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """Where the bytes come from and go to."""

    folder: Path
    url: str
    key: str
    sha256: str
    publish_seconds: float

    @property
    def root(self) -> Path:
        """The root to pin."""
        return self.folder / "data" / "trust" / "root.json"

    @property
    def blob(self) -> Path:
        """The file as the service keeps it."""
        blobs = self.folder / "data" / "blobs" / "sha256"
        return blobs / self.sha256[:2] / self.sha256

    @property
    def file_url(self) -> str:
        """Where the zoo serves the file."""
        return f"{self.url}/api/v1/models/alice/big/releases/1/files/{NAME}"

    def hub_downloaded(self) -> JsonObject:
        """Fetch it with huggingface_hub, from the paths that it asks for."""
        home = self.folder / "hub-home"
        task = {"url": self.url, "name": NAME, "home": str(home)}
        python = environments.environment("huggingface_hub", HUB_NEEDS)
        try:
            return ask("hub_download", task, python=python)
        finally:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def large_release(folder: Path, *, size_bytes: int) -> Iterator[Large]:
    """Serve a release of one file."""
    source = folder / "source"
    source.mkdir()
    sha256 = write_weights(source / NAME, size_bytes=size_bytes)
    key = SigningKey.generate()
    with zoo_served(folder) as url:
        root = (folder / "data" / "trust" / "root.json").read_bytes()
        anchor = Anchor(root=root, cache=folder / "publisher")
        with ZooClient(url, anchor=anchor) as zoo:
            zoo.bind_publisher("alice", key.public)
            started = time.perf_counter()
            zoo.publish(RELEASE, source, key=key)
            publishing = time.perf_counter() - started
        shutil.rmtree(source)
        yield Large(
            folder=folder,
            url=url,
            key=key.public.to_pem(),
            sha256=sha256,
            publish_seconds=publishing,
        )


def task_of(large: Large, **more: object) -> JsonObject:
    """Return what a side is told, as JSON values."""
    task = {
        "url": large.url,
        "release": RELEASE,
        "key": large.key,
        "root": str(large.root),
        "file_url": large.file_url,
        "blob": str(large.blob),
        **more,
    }
    return dict(json.loads(json.dumps(task)))
