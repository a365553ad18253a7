"""What a publisher can do to others by withdrawing what is his own: nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from model_zoo.attestations import Provenance, sign_provenance, subjects_of
from model_zoo.client import ZooClient
from model_zoo.digests import sha256_file
from model_zoo.errors import YankedError
from model_zoo.folders import manifest_of
from model_zoo.jobs import NoopSpec
from model_zoo.policy import TrustPolicy
from model_zoo.transport import Server, Transport
from model_zoo.trust import pulling
from tests.model_zoo.releases import ALICE, BOB, BUILDER, MALLORY, weights
from tests.model_zoo.servers import anchor_of, open_zoo

OPEN = TrustPolicy()
KEYS = {"alice": ALICE, "bob": BOB, "mallory": MALLORY}


@dataclass
class World:
    """A running zoo, three publishers, and a folder for what they make."""

    zoo: ZooClient
    transport: Transport
    folder: Path

    def publish(self, name: str, *, count: int, parent: int | None = None) -> None:
        """Publish weights of ``count`` numbers, made from those of ``parent``."""
        files = self.folder / name.replace("/", "-")
        files.mkdir()
        (files / "model.safetensors").write_bytes(weights(count))
        made = Provenance(
            subjects=subjects_of(manifest_of(files)),
            kind="noop",
            spec=NoopSpec().to_object(),
            inputs={} if parent is None else {"parent": self.digest(parent)},
            code="0" * 64,
            environment={"threads": 1},
            builder=BUILDER.public.keyid,
            invocation="0" * 32,
            started_at="2026-11-22T13:00:00Z",
            finished_at="2026-11-22T13:00:01Z",
        )
        key = KEYS[name.partition("/")[0]]
        signed = sign_provenance(made, BUILDER)
        self.zoo.publish(name, files, key=key, provenance=signed)

    def digest(self, count: int) -> str:
        path = self.folder / f"{count}.safetensors"
        path.write_bytes(weights(count))
        return sha256_file(path)

    def pull(self, name: str) -> Path:
        to = self.folder / "pulled" / name.replace("/", "-")
        return self.zoo.pull(name, policy=OPEN, to=to).path

    def yank(self, name: str) -> None:
        key = KEYS[name.partition("/")[0]]
        self.zoo.yank(name, reason="I changed my mind", key=key)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Alice published a model, bob what he made from it."""
    with open_zoo(tmp_path / "zoo") as url:
        anchor = anchor_of(tmp_path / "zoo")
        with ZooClient(url, anchor=anchor) as zoo, Transport(Server(url)) as transport:
            for name, key in KEYS.items():
                zoo.bind_publisher(name, key.public)
            zoo.bind_trainer("lab", BUILDER.public)
            world = World(zoo, transport, tmp_path)
            world.publish("alice/base@1", count=4)
            world.publish("bob/tuned@1", count=5, parent=4)
            yield world


def test_a_publisher_cannot_revoke_anothers_model(world: World) -> None:
    world.publish("mallory/copy@1", count=4)
    world.yank("mallory/copy@1")

    for name in ("alice/base@1", "bob/tuned@1"):
        pulled = world.pull(name)
        pulling.verify_folder(pulled, anchor=world.zoo.anchor, policy=OPEN)
    blob = f"{world.transport.server.url}/api/v1/blobs/{world.digest(4)}"
    assert httpx.get(blob, trust_env=False).content == weights(4)
    with pytest.raises(YankedError):
        world.pull("mallory/copy@1")
