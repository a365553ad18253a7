"""What a publisher can do to others by withdrawing what is his own: nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from model_zoo.client import trusted_pull as pulling
from model_zoo.client.lineage import lineage_of
from model_zoo.client.operate import change_targets, withdraw_releases
from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.digests import sha256_file
from model_zoo.errors import YankedError
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Severity
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import Provenance, sign_provenance, subjects_of
from model_zoo.statements.jobs import ExportSpec, NoopSpec
from model_zoo.statements.manifest import MAX_FILES
from model_zoo.statements.policy import Policy
from model_zoo.tuf.revocations import index_path
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import ALICE, BOB, BUILDER, MALLORY, weights
from tests.model_zoo.servers import NO_AUTHORITY, anchor_of, open_zoo

OPEN = Policy()
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

    def refuses(self, *names: str) -> None:
        for name in names:
            with pytest.raises(YankedError):
                self.zoo.pull(name, policy=OPEN, to=self.folder / "refused")

    def blob(self, count: int) -> httpx.Response:
        """Ask for a file by its digest, as a worker does for a parent."""
        path = f"/api/v1/blobs/{self.digest(count)}"
        return httpx.get(
            self.transport.server.url + path, trust_env=False, verify=NO_AUTHORITY
        )

    def passes_every_check(self) -> None:
        """Look at the repository from outside, all of it."""
        server = self.transport.server
        findings = check_repository(server, Extent(deep=True), clock=system_clock)
        assert [it for it in findings if it.severity is Severity.FAILURE] == []

    def withdraw(self, name: str) -> None:
        """Withdraw a release as the operator."""
        trust = self.folder / "zoo" / "trust"
        passphrase = (trust / "passphrase").read_bytes()
        key = SigningKey.load(trust / "targets.pem", passphrase=passphrase)
        edit = withdraw_releases({ReleaseName.parse(name): "the police asked"})
        anchor = self.zoo.anchor
        assert anchor is not None
        change_targets(self.transport, anchor=anchor, keys=[key], edit=edit)


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

    anchor = world.zoo.anchor
    assert anchor is not None
    for name in ("alice/base@1", "bob/tuned@1"):
        pulled = world.pull(name)
        pulling.verify_folder(pulled, anchor=anchor, policy=OPEN)
    assert world.blob(4).content == weights(4)
    world.publish("bob/tuned@2", count=6, parent=4)
    world.pull("bob/tuned@2")
    world.refuses("mallory/copy@1")
    lineage = lineage_of(
        world.transport, ReleaseName.parse("bob/tuned@1"), anchor=anchor
    )
    (parent,) = lineage.ancestors
    assert (parent.release, parent.withdrawn) == ("alice/base@1", None)


def test_a_copyists_notice_does_not_take_the_place_of_the_publishers_own(
    world: World,
) -> None:
    """He was first; hers counts all the same, and so it is the other way round."""
    world.publish("mallory/copy@1", count=4)
    world.yank("mallory/copy@1")
    world.yank("alice/base@1")

    world.refuses("mallory/copy@1", "alice/base@1", "bob/tuned@1")
    assert world.blob(4).status_code == 410


def test_what_was_made_from_a_withdrawn_file_that_nobody_else_has_is_refused(
    world: World,
) -> None:
    world.publish("mallory/own@1", count=7)
    world.publish("bob/taken-in@1", count=8, parent=7)
    world.yank("mallory/own@1")

    world.refuses("mallory/own@1", "bob/taken-in@1")
    assert world.blob(7).status_code == 410
    with pytest.raises(YankedError, match="mallory/own@1"):
        world.publish("bob/late@1", count=9, parent=7)
    with pytest.raises(YankedError, match="mallory/own@1"):
        world.publish("mallory/again@1", count=7)
    job = ExportSpec(parent=world.digest(7))
    with pytest.raises(YankedError, match="mallory/own@1"):
        world.zoo.submit(job, trainer="lab")


def test_a_copy_by_another_outlives_its_first_publishers_notice_only(
    world: World,
) -> None:
    """The first publisher's word binds what is his, the operator's every copy."""
    world.publish("mallory/copy@1", count=4)
    world.yank("alice/base@1")
    world.pull("mallory/copy@1")
    world.pull("bob/tuned@1")
    assert world.blob(4).status_code == 200

    world.withdraw("alice/base@1")
    world.refuses("alice/base@1", "mallory/copy@1", "bob/tuned@1")
    assert world.blob(4).status_code == 410
    for path in (
        "/api/v1/models/mallory/copy/releases/1",
        "/api/v1/models/mallory/copy/releases/1/files/model.safetensors",
        "/mallory/copy/resolve/1/model.safetensors",
    ):
        url = world.transport.server.url + path
        assert (
            httpx.get(url, trust_env=False, verify=NO_AUTHORITY).status_code == 410
        ), path
    with pytest.raises(YankedError, match="the police asked"):
        world.publish("mallory/copy@2", count=4)
    world.withdraw("bob/tuned@1")
    world.passes_every_check()


def test_many_copies_leave_room_for_the_true_holder(world: World) -> None:
    """The zoo names holders so that clients can look; each publisher is one of them."""
    for version in range(3):
        world.publish(f"mallory/copy@{version}", count=4)
    said = world.transport.get(f"/holders/{world.digest(4)}")
    assert said["releases"] == ["alice/base@1", "mallory/copy@0"]
    world.yank("mallory/copy@0")
    said = world.transport.get(f"/holders/{world.digest(4)}")
    assert said["releases"] == ["alice/base@1", "mallory/copy@1"]
    world.pull("bob/tuned@1")
    world.refuses("mallory/copy@1")


def test_a_long_index_is_read_in_bins_and_stands_every_check(
    world: World, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(MAX_FILES):
        (many / f"shard-{number}.safetensors").write_bytes(weights(number + 100))
    world.zoo.publish("mallory/many@1", many, key=MALLORY)
    world.publish("mallory/own@1", count=7)
    world.yank("mallory/many@1")
    world.yank("mallory/own@1")

    assert world.zoo.anchor is not None
    root = world.zoo.anchor.root
    fresh = Anchor(root=root, cache=tmp_path / "fresh")
    with fresh.refreshed(world.transport.server) as seen:
        assert seen.target(index_path(world.digest(7))) is not None
        bins = [name for name in seen.versions() if name.startswith("zoo~yanked~b-")]
    assert len(bins) == 1
    with ZooClient(world.transport.server.url, anchor=fresh) as zoo:
        zoo.pull("bob/tuned@1", policy=OPEN, to=tmp_path / "pulled")
    world.passes_every_check()
