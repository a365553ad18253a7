"""A yank and what was made from it: refused at pull and at load, with the chain."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_zoo.client import trusted_pull as pulling
from model_zoo.client.lineage import lineage_of
from model_zoo.client.operate import (
    change_targets,
    edit_trusted_keys,
    withdraw_releases,
)
from model_zoo.client.zoo import ZooClient
from model_zoo.digests import sha256_file
from model_zoo.errors import (
    InvalidSpecError,
    NotFoundError,
    PolicyNotMetError,
    VerificationError,
    YankedError,
)
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import Provenance, sign_provenance, subjects_of
from model_zoo.statements.jobs import NoopSpec
from model_zoo.statements.policy import Policy
from model_zoo.tuf.releases import trusted_release
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import ALICE, BOB, BUILDER, MALLORY, weights
from tests.model_zoo.servers import open_zoo

PARENT, CHILD, GRANDCHILD = "alice/base@1", "bob/tuned@1", "bob/tuned@2"
OPEN = Policy()


@dataclass
class Family:
    """Three generations by two publishers, in a running zoo."""

    zoo: ZooClient
    transport: Transport
    anchor: Anchor
    targets_key: SigningKey
    folder: Path

    def make(self, name: str, *, count: int, parent: str | None) -> None:
        """Publish a release that was made from ``parent``'s weights."""
        files = self.folder / name.replace("/", "-")
        files.mkdir()
        (files / "model.safetensors").write_bytes(weights(count))
        key = ALICE if name.startswith("alice/") else BOB
        made = self.provenance(files, parent)
        self.zoo.publish(name, files, key=key, provenance=made)

    def provenance(self, files: Path, parent: str | None) -> Envelope:
        inputs = {} if parent is None else {"parent": self.digest(parent)}
        return sign_provenance(
            Provenance(
                subjects=subjects_of(manifest_of(files)),
                kind="noop",
                spec=NoopSpec().to_object(),
                inputs=inputs,
                code="0" * 64,
                environment={"threads": 1},
                builder=BUILDER.public.keyid,
                invocation="0" * 32,
                started_at="2026-11-22T13:00:00Z",
                finished_at="2026-11-22T13:00:01Z",
            ),
            BUILDER,
        )

    def digest(self, name: str) -> str:
        return sha256_file(self.folder / name.replace("/", "-") / "model.safetensors")

    def pull(self, name: str, to: str, policy: Policy = OPEN) -> Path:
        return self.zoo.pull(name, policy=policy, to=self.folder / to).path


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    with open_zoo(tmp_path / "zoo") as url:
        trust = tmp_path / "zoo" / "trust"
        anchor = Anchor(
            root=(trust / "root.json").read_bytes(), cache=tmp_path / "cache"
        )
        passphrase = (trust / "passphrase").read_bytes()
        with ZooClient(url, anchor=anchor) as zoo, Transport(Server(url)) as transport:
            zoo.bind_publisher("alice", ALICE.public)
            zoo.bind_publisher("bob", BOB.public)
            zoo.bind_trainer("lab", BUILDER.public)
            family = Family(
                zoo,
                transport,
                anchor,
                SigningKey.load(trust / "targets.pem", passphrase=passphrase),
                tmp_path,
            )
            family.make(PARENT, count=4, parent=None)
            family.make(CHILD, count=5, parent=PARENT)
            family.make(GRANDCHILD, count=6, parent=CHILD)
            yield family


def test_what_descends_from_a_yanked_release_is_refused_with_the_chain(
    family: Family,
) -> None:
    family.pull(GRANDCHILD, "before")
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    for name, way in (
        (CHILD, f"{CHILD} <- "),
        (GRANDCHILD, f"{GRANDCHILD} <- {CHILD} <- "),
    ):
        with pytest.raises(YankedError) as refused:
            family.pull(name, "after")
        assert str(refused.value).startswith(way)
        assert "it has a backdoor" in str(refused.value)
    assert not (family.folder / "after").exists()


def test_what_was_pulled_before_is_refused_when_it_is_loaded(family: Family) -> None:
    for name, to in ((PARENT, "parent"), (GRANDCHILD, "grandchild")):
        folder = family.pull(name, to)
        assert set(family.zoo.load_folder(folder, policy=OPEN)) == {"w"}
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    for to in ("parent", "grandchild"):
        with pytest.raises(YankedError, match="backdoor"):
            family.zoo.load_folder(family.folder / to, policy=OPEN)


def test_an_override_is_named_and_told(family: Family) -> None:
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    other = Policy(allow_withdrawn=(GRANDCHILD,))
    with pytest.raises(YankedError):
        family.pull(CHILD, "child", other)
    allowed = Policy(allow_withdrawn=(CHILD,))
    pulled = family.zoo.pull(CHILD, policy=allowed, to=family.folder / "child")
    (told,) = pulled.overridden
    assert told.startswith(f"{CHILD} <- ")
    assert "it has a backdoor" in told
    off_line = pulling.verify_folder(
        family.folder / "child", anchor=family.anchor, policy=allowed
    )
    assert off_line.overridden == pulled.overridden
    with pytest.raises(YankedError):
        pulling.verify_folder(
            family.folder / "child", anchor=family.anchor, policy=OPEN
        )


def test_the_same_weights_under_another_name_of_his_are_refused_too(
    family: Family,
) -> None:
    family.make("alice/copy@1", count=4, parent=None)
    family.pull("alice/copy@1", "before")
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    with pytest.raises(YankedError, match="alice/copy@1: alice/base@1"):
        family.pull("alice/copy@1", "after")


def test_the_operator_withdraws_what_its_publisher_does_not(family: Family) -> None:
    family.make("bob/copy@1", count=4, parent=None)
    family.pull("bob/copy@1", "copy")
    change_targets(
        family.transport,
        anchor=family.anchor,
        keys=[family.targets_key],
        edit=withdraw_releases({ReleaseName.parse(PARENT): "the police asked"}),
    )
    with pytest.raises(YankedError, match="withdrawn by the operator: the police"):
        family.pull(PARENT, "parent")
    with pytest.raises(YankedError, match="the police asked"):
        family.pull(GRANDCHILD, "grandchild")
    with pytest.raises(YankedError, match="bob/copy@1: alice/base@1"):
        family.pull("bob/copy@1", "the same weights under another's name")


def test_a_hint_that_the_zoo_withholds_hides_no_direct_parent(family: Family) -> None:
    """The parent's digest is in the child's own signed provenance."""
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    with (
        family.anchor.refreshed(family.transport.server) as view,
        pytest.raises(YankedError),
    ):
        trusted_release(
            view,
            ReleaseName.parse(CHILD),
            policy=OPEN,
            containing_releases=lambda _: [],
        )


def test_there_is_no_way_back(family: Family) -> None:
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    with pytest.raises(NotFoundError):
        family.zoo.yank(PARENT, reason="again", key=ALICE)
    files = family.folder / "alice-base@1"
    made = family.provenance(files, None)
    with pytest.raises(YankedError):
        family.zoo.publish(PARENT, files, key=ALICE, provenance=made)
    with pytest.raises(YankedError):
        family.pull(PARENT, "again")


def test_only_the_publisher_yanks_and_only_with_a_reason(family: Family) -> None:
    with pytest.raises(VerificationError, match="signed by 0"):
        family.zoo.yank(PARENT, reason="envy", key=MALLORY)
    with pytest.raises(InvalidSpecError, match="say why"):
        family.zoo.yank(PARENT, reason="", key=ALICE)
    family.pull(PARENT, "parent")


def test_a_policy_for_provenance_wants_a_trusted_builder(family: Family) -> None:
    demanding = Policy(provenance=True)
    with pytest.raises(PolicyNotMetError, match="trusts no builder"):
        family.pull(CHILD, "child", demanding)
    change_targets(
        family.transport,
        anchor=family.anchor,
        keys=[family.targets_key],
        edit=edit_trusted_keys(add={"builders": [BUILDER.public]}),
    )
    family.pull(CHILD, "child", demanding)


def test_a_release_with_checkpoints_is_yanked_with_all_of_them(
    family: Family,
) -> None:
    """Who learned from a checkpoint on the way descends from the release, too."""
    files = family.folder / "trained"
    files.mkdir()
    (files / "model.safetensors").write_bytes(weights(7))
    (files / "checkpoint-000.safetensors").write_bytes(weights(8))
    family.zoo.publish("alice/trained@1", files, key=ALICE)
    family.make("alice/early@1", count=8, parent=None)
    yanked = family.zoo.yank("alice/trained@1", reason="a backdoor", key=ALICE)
    assert set(yanked.notice.files) == {
        "model.safetensors",
        "checkpoint-000.safetensors",
    }
    with pytest.raises(YankedError, match="a backdoor"):
        family.pull("alice/early@1", "early")


def test_the_blast_radius_can_be_seen_after_the_yank(family: Family) -> None:
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    name = ReleaseName.parse(PARENT)
    found = lineage_of(family.transport, name, anchor=family.anchor)
    assert "it has a backdoor" in str(found.withdrawn)
    assert [kin.release for kin in found.descendants] == [CHILD, GRANDCHILD]


def test_lineage_shows_both_directions_and_what_was_withdrawn(family: Family) -> None:
    name = ReleaseName.parse(CHILD)
    found = lineage_of(family.transport, name, anchor=family.anchor)
    (parent,), (child,) = found.ancestors, found.descendants
    assert parent.chain == (CHILD, PARENT)
    assert parent.withdrawn is None
    assert child.chain == (GRANDCHILD, CHILD)
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    (parent,) = lineage_of(family.transport, name, anchor=family.anchor).ancestors
    assert parent.withdrawn is not None
    assert "it has a backdoor" in parent.withdrawn


def test_an_honest_zoo_hands_a_withdrawn_release_to_nobody(family: Family) -> None:
    """Not to who pins a key only, nor to a worker that would learn from it."""
    pinned = Policy(publisher=Role("alice", (ALICE.public,)))
    family.zoo.yank(PARENT, reason="it has a backdoor", key=ALICE)
    with pytest.raises(YankedError, match="it has a backdoor"):
        family.zoo.pull(PARENT, policy=pinned, to=family.folder / "parent")
    path = "/models/alice/base/releases/1/files/model.safetensors"
    for asked in (path, f"/blobs/{family.digest(PARENT)}"):
        with pytest.raises(YankedError):
            family.transport.get(asked)
    child = Policy(publisher=Role("bob", (BOB.public,)))
    with ZooClient(family.transport.server.url) as keyed:
        keyed.pull(CHILD, policy=child, to=family.folder / "child")
    with pytest.raises(YankedError, match="it has a backdoor"):
        family.zoo.pull(CHILD, policy=child, to=family.folder / "under both")
