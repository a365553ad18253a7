"""A publisher under threshold two: nothing of his changes until it is co-signed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tuf.api.metadata import Targets
from tuf.ngclient import Updater

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.client.cosign import cosign_re_signed
from model_zoo.client.publish import re_sign
from model_zoo.clock import system_clock
from model_zoo.errors import (
    ConflictError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
    VerificationError,
    YankedError,
)
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Finding, Severity
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from model_zoo.tuf.publisher_roles import edited, renewed, sign_roles
from model_zoo.tuf.roles import parse
from tests.e2e.two_keys import (
    NAME,
    PENDING,
    REASON,
    SCANNER,
    SECOND,
    STOWAWAY,
    TwoKeys,
    as_json,
    open_two_keys,
)
from tests.model_zoo.releases import ALICE, MALLORY, weights

BINS = 8


@pytest.fixture
def it(tmp_path: Path) -> Iterator[TwoKeys]:
    with open_two_keys(tmp_path) as it:
        yield it


def test_it_appears_when_the_second_key_signs(it: TwoKeys, tmp_path: Path) -> None:
    handed_in = it.zoo.publish(NAME, it.files, key=ALICE)
    assert handed_in.pending
    with pytest.raises(NotFoundError):
        it.zoo.pull(NAME, policy=Policy(), to=tmp_path / "early")
    signed = it.cosign()
    assert (signed.change, signed.pending) == (f"the release {NAME}", False)
    pulled = it.zoo.pull(NAME, policy=Policy(), to=tmp_path / "late")
    assert str(pulled.statement.release) == NAME
    with pytest.raises(NotFoundError):
        it.cosign()


def test_a_yank_counts_when_the_second_key_signs(it: TwoKeys, tmp_path: Path) -> None:
    it.publish(NAME)
    folder = tmp_path / "pulled"
    it.zoo.pull(NAME, policy=Policy(), to=folder)

    withdrawal = it.zoo.yank(NAME, reason=REASON, key=ALICE)

    assert withdrawal.waits_for == (SCANNER.public.keyid,)
    it.zoo.pull(NAME, policy=Policy(), to=tmp_path / "still there")
    assert stock_client_finds(it, NAME, tmp_path / "stock")
    signed = it.cosign()
    assert signed.change == f"the withdrawal of {NAME}: {REASON}"
    assert not signed.pending
    with pytest.raises(YankedError, match=REASON):
        it.zoo.pull(NAME, policy=Policy(), to=tmp_path / "gone")
    with pytest.raises(YankedError, match=REASON):
        it.zoo.load_folder(folder, policy=Policy())
    with pytest.raises(YankedError, match=REASON):
        it.zoo.release(NAME)
    assert not stock_client_finds(it, NAME, tmp_path / "stock")
    with pytest.raises(NotFoundError):
        it.waiting()
    assert failures(it) == []


def test_a_renewal_counts_when_the_second_key_signs(
    it: TwoKeys, tmp_path: Path
) -> None:
    it.publish(NAME)

    renewal = it.renew(SCANNER)

    assert (renewal.versions, renewal.waits_for) == ({}, (ALICE.public.keyid,))
    assert it.version() == 1
    signed = it.cosign(ALICE)
    assert (signed.change, signed.pending) == ("the renewal of alice", False)
    assert it.version() == 2
    it.zoo.pull(NAME, policy=Policy(), to=tmp_path / "out")
    assert stock_client_finds(it, NAME, tmp_path / "stock")
    assert failures(it) == []


def test_neither_the_same_key_again_nor_a_strangers_is_enough(
    it: TwoKeys, tmp_path: Path
) -> None:
    it.zoo.publish(NAME, it.files, key=ALICE)
    assert it.cosign(ALICE).pending
    with pytest.raises(NotPermittedError, match="not delegated to this key"):
        it.cosign(MALLORY)
    with pytest.raises(NotFoundError):
        it.zoo.pull(NAME, policy=Policy(), to=tmp_path / "out")


def test_a_stranger_alone_cannot_make_anything_wait(it: TwoKeys) -> None:
    with pytest.raises(NotPermittedError, match="not yours"):
        it.zoo.publish(NAME, it.files, key=MALLORY)
    it.publish(NAME)
    with pytest.raises(VerificationError, match="signed by 0"):
        it.zoo.yank(NAME, reason=REASON, key=MALLORY)
    with pytest.raises(VerificationError, match="signed by 0"):
        it.renew(MALLORY)
    with pytest.raises(NotFoundError, match="no change of"):
        it.waiting()


def test_one_change_of_a_publisher_waits_at_a_time(it: TwoKeys) -> None:
    it.publish("alice/digits@0")
    it.zoo.publish(NAME, it.files, key=ALICE)
    again = it.zoo.publish(NAME, it.files, key=ALICE)
    assert again.pending, "the same again is fine"
    with pytest.raises(ConflictError, match=f"release of {NAME} waits"):
        it.zoo.publish(SECOND, it.files, key=ALICE)
    with pytest.raises(ConflictError, match=f"release of {NAME} waits"):
        it.zoo.yank("alice/digits@0", reason=REASON, key=ALICE)
    with pytest.raises(ConflictError, match=f"release of {NAME} waits"):
        it.renew(SCANNER)
    it.take_back()
    assert it.renew(SCANNER).waits_for
    with pytest.raises(ConflictError, match="renewal of alice waits"):
        it.zoo.publish(SECOND, it.files, key=ALICE)


def test_a_change_that_breaks_a_rule_is_refused_before_it_can_wait(
    it: TwoKeys,
) -> None:
    it.publish(NAME)
    with it.anchor.refreshed(it.transport.server) as view:
        roles = edited(view.publisher("alice"), add=STOWAWAY, now=system_clock())
    more = as_json(sign_roles(roles, ALICE))
    with pytest.raises(MalformedDocumentError, match="differs from what was asked"):
        it.transport.send("POST", "/trust/roles", {"roles": more})
    roles["alice"].signed.version += 1
    late = as_json(sign_roles(roles, ALICE))
    with pytest.raises(ConflictError, match="expected version 2"):
        it.transport.send("POST", "/trust/roles", {"roles": late})
    with pytest.raises(NotFoundError):
        it.waiting()


def test_what_waits_is_forgotten_when_its_version_is_taken(it: TwoKeys) -> None:
    it.publish(NAME)
    it.zoo.publish(SECOND, it.files, key=ALICE)
    renewal = parse(canonical_json(it.waiting()["roles"]["alice"]), Targets)
    for file in ("release.json", "model.safetensors"):
        del renewal.signed.targets[f"alice/digits/2/{file}"]
    renewal.signatures.clear()
    sign_roles({"alice": renewal}, SCANNER)
    both = as_json(sign_roles({"alice": renewal}, ALICE))
    it.transport.send("POST", "/trust/roles", {"roles": both})
    with pytest.raises(NotFoundError):
        it.waiting()


def test_a_signature_that_is_none_neither_counts_nor_displaces_one(
    it: TwoKeys,
) -> None:
    it.zoo.publish(NAME, it.files, key=ALICE)
    role = it.waiting()["roles"]["alice"]

    def send(*signatures: JsonObject) -> None:
        signed = {"signed": role["signed"], "signatures": list(signatures)}
        body = {"roles": {"alice": signed}}
        it.transport.send("POST", f"{PENDING}/signatures", body)

    (genuine,) = role["signatures"]
    forged = {**genuine, "sig": "00" * 64}
    planted = {**genuine, "keyid": SCANNER.public.keyid}
    strangers = {**genuine, "keyid": MALLORY.public.keyid}
    for signature in (forged, planted, strangers):
        with pytest.raises(NotPermittedError, match="signed by none of the keys"):
            send(signature)
    send(genuine, planted, strangers)
    assert it.waiting()["roles"]["alice"]["signatures"] == [genuine]
    assert not it.cosign().pending


def test_a_role_with_bins_is_cosigned_and_given_other_keys_alike(
    it: TwoKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_zoo.tuf.publisher_roles.SPLIT_AFTER", 2)
    it.publish(NAME)
    (it.files / "model.safetensors").write_bytes(weights(7))
    it.publish(SECOND)
    it.zoo.yank(NAME, reason=REASON, key=ALICE)
    assert not it.cosign().pending
    it.renew()
    assert len(it.waiting()["roles"]) == 1 + BINS
    assert not it.cosign().pending
    new = Role(keys=(MALLORY.public, SCANNER.public), threshold=2)
    files = re_sign(it.transport, "alice", signer=it.author(MALLORY), keys=new)
    roles = {name: parse(data, Targets) for name, data in files.items()}

    both = cosign_re_signed(it.transport, roles, it.author(SCANNER))

    it.delegate(new, both)
    it.zoo.pull(SECOND, policy=Policy(), to=tmp_path / "out")
    assert it.zoo.publish("alice/digits@3", it.files, key=MALLORY).pending
    assert not it.cosign().pending
    assert failures(it) == []


def test_bins_wait_only_where_each_has_a_signature(
    it: TwoKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_zoo.tuf.publisher_roles.SPLIT_AFTER", 2)
    it.publish(NAME, SECOND)
    with it.anchor.refreshed(it.transport.server) as view:
        roles = renewed(view.publisher("alice"), now=system_clock())
    body = as_json(sign_roles(roles, ALICE))
    unsigned = next(name for name in body if name != "alice")
    body[unsigned]["signatures"] = []
    with pytest.raises(VerificationError, match=f"{unsigned}: signed by 0"):
        it.transport.send("POST", "/trust/roles", {"roles": body})
    with pytest.raises(NotFoundError):
        it.waiting()


def test_resigned_roles_that_hold_more_are_not_signed(it: TwoKeys) -> None:
    it.publish(NAME)
    new = Role(keys=(MALLORY.public, SCANNER.public), threshold=2)
    files = re_sign(it.transport, "alice", signer=it.author(MALLORY), keys=new)
    role = parse(files["alice"], Targets)
    role.signed.targets |= STOWAWAY
    with pytest.raises(MalformedDocumentError, match="not the current version"):
        cosign_re_signed(it.transport, {"alice": role}, it.author(SCANNER))


def stock_client_finds(it: TwoKeys, name: str, folder: Path) -> bool:
    """Whether python-tuf alone finds a release's weights and its bundle."""
    folder.mkdir(exist_ok=True)
    url = it.transport.server.url
    updater = Updater(
        str(folder),
        f"{url}/tuf/metadata/",
        str(folder),
        f"{url}/tuf/targets/",
        bootstrap=it.anchor.root,
    )
    path = name.replace("@", "/")
    files = ("model.safetensors", "release.json")
    (found,) = {updater.get_targetinfo(f"{path}/{file}") is not None for file in files}
    return found


def failures(it: TwoKeys) -> list[Finding]:
    extent = Extent(pinned=it.anchor.root, deep=True)
    findings = check_repository(it.transport.server, extent, clock=system_clock)
    return [one for one in findings if one.severity is Severity.FAILURE]
