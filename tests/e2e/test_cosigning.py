"""A publisher under threshold two: nothing of his is visible until it is co-signed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_zoo.attestations import ReleaseStatement, sign_release
from model_zoo.bundles import bundle_bytes
from model_zoo.client import ZooClient
from model_zoo.cosigning import cosign
from model_zoo.errors import (
    ConflictError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
)
from model_zoo.folders import manifest_of
from model_zoo.keys import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.policy import TrustPolicy
from model_zoo.publishing import Author, submit_next_roles
from model_zoo.pulling import release_path
from model_zoo.transport import Server, Transport
from model_zoo.trust.anchor import Anchor
from model_zoo.trust.ceremony import RoleKeys
from model_zoo.trust.operating import change_targets, delegate_to
from model_zoo.trust.publishing import edited, release_targets, target_file
from tests.model_zoo.releases import ALICE, MALLORY, write_files
from tests.model_zoo.servers import open_zoo

SCANNER = SigningKey.generate()
NAME = "alice/digits@1"


@pytest.fixture
def anchor(tmp_path: Path) -> Iterator[Anchor]:
    """The root of a running zoo in which alice needs the scanner's word."""
    with open_zoo(tmp_path / "zoo") as url:
        trust = tmp_path / "zoo" / "trust"
        anchor = Anchor(
            root=(trust / "root.json").read_bytes(), cache=tmp_path / "cache"
        )
        passphrase = (trust / "passphrase").read_bytes()
        with Transport(Server(url)) as transport:
            change_targets(
                transport,
                anchor=anchor,
                keys=[SigningKey.load(trust / "targets.pem", passphrase=passphrase)],
                edit=delegate_to(
                    "alice",
                    RoleKeys(keys=(ALICE.public, SCANNER.public), threshold=2),
                ),
            )
        (tmp_path / "url").write_text(url)
        yield anchor


@pytest.fixture
def zoo(anchor: Anchor, tmp_path: Path) -> Iterator[ZooClient]:
    with ZooClient((tmp_path / "url").read_text(), anchor=anchor) as zoo:
        yield zoo


@pytest.fixture
def transport(anchor: Anchor, tmp_path: Path) -> Iterator[Transport]:
    del anchor
    with Transport(Server((tmp_path / "url").read_text())) as transport:
        yield transport


def test_it_appears_when_the_second_key_signs(
    zoo: ZooClient, transport: Transport, anchor: Anchor, tmp_path: Path
) -> None:
    handed_in = zoo.publish(NAME, write_files(tmp_path / "files"), key=ALICE)
    assert handed_in.pending
    with pytest.raises(NotFoundError):
        zoo.pull(NAME, policy=TrustPolicy(), to=tmp_path / "early")
    signed = cosign(transport, "alice", Author(key=SCANNER, anchor=anchor))
    assert not signed.pending
    pulled = zoo.pull(NAME, policy=TrustPolicy(), to=tmp_path / "late")
    assert str(pulled.statement.release) == NAME
    with pytest.raises(NotFoundError):
        cosign(transport, "alice", Author(key=SCANNER, anchor=anchor))


def test_neither_the_same_key_again_nor_a_strangers_is_enough(
    zoo: ZooClient, transport: Transport, anchor: Anchor, tmp_path: Path
) -> None:
    zoo.publish(NAME, write_files(tmp_path / "files"), key=ALICE)
    for key in (ALICE, MALLORY):
        assert cosign(transport, "alice", Author(key=key, anchor=anchor)).pending
    with pytest.raises(NotFoundError):
        zoo.pull(NAME, policy=TrustPolicy(), to=tmp_path / "out")


def test_a_stranger_alone_cannot_make_anything_wait(
    zoo: ZooClient, tmp_path: Path
) -> None:
    with pytest.raises(NotPermittedError, match="not yours"):
        zoo.publish(NAME, write_files(tmp_path / "files"), key=MALLORY)


def test_one_release_of_a_publisher_waits_at_a_time(
    zoo: ZooClient, transport: Transport, tmp_path: Path
) -> None:
    files = write_files(tmp_path / "files")
    zoo.publish(NAME, files, key=ALICE)
    assert zoo.publish(NAME, files, key=ALICE).pending, "the same again is fine"
    with pytest.raises(ConflictError, match="waits for signatures"):
        zoo.publish("alice/digits@2", files, key=ALICE)
    transport.send("DELETE", "/publishers/alice/pending", {})
    assert zoo.publish("alice/digits@2", files, key=ALICE).pending


def test_a_cosigner_signs_nothing_that_is_more_than_one_release(
    zoo: ZooClient, transport: Transport, anchor: Anchor, tmp_path: Path
) -> None:
    files = write_files(tmp_path / "files")
    name, manifest = ReleaseName.parse(NAME), manifest_of(files)
    envelope = sign_release(ReleaseStatement(name, manifest), ALICE)
    bundle = bundle_bytes(envelope=envelope, provenance=None)
    stowaway = "alice/digits/0/model.safetensors"
    add = release_targets(name, manifest, bundle=bundle) | {
        stowaway: target_file(stowaway, size_bytes=1, sha256="0" * 64)
    }
    body = {
        "upload": zoo.upload(files),
        "envelope": envelope.to_object(),
        "provenance": None,
    }
    submit_next_roles(
        transport,
        "alice",
        author=Author(key=ALICE, anchor=anchor),
        build=lambda roles, now: edited(roles, add=add, now=now),
        send=lambda roles: transport.send(
            "PUT", release_path(name), {**body, "roles": roles}
        ),
    )
    with pytest.raises(MalformedDocumentError, match="one release more"):
        cosign(transport, "alice", Author(key=SCANNER, anchor=anchor))
