"""What a policy demands is what a release must show."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_zoo.client.pull import load
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    LengthMismatchError,
    LocalError,
    MalformedDocumentError,
    PolicyNotMetError,
    ProvenanceMismatchError,
    ThresholdNotMetError,
    VerificationError,
    WrongReleaseError,
)
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.folder import BUNDLE_NAME, manifest_of
from model_zoo.statements.jobs import NoopSpec
from model_zoo.statements.manifest import FileEntry, Manifest
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import read_bundle
from model_zoo.statements.verification import (
    VerifiedRelease,
    read_verified,
    verify_directory,
    verify_provenance,
    verify_release,
)
from tests.model_zoo.releases import (
    ALICE,
    BOB,
    BUILDER,
    MALLORY,
    NAME,
    ORDER,
    POLICY,
    ROLE,
    SPEC,
    provenance_of,
    weights,
    write_files,
    write_release,
)

PAIR = Role("publisher", (ALICE.public, BOB.public), threshold=2)


def verified(folder: Path, policy: Policy) -> VerifiedRelease:
    return verify_directory(folder, name=NAME, policy=policy)


def test_a_policy_that_demands_nothing_refuses(folder: Path) -> None:
    write_release(folder, built=True)
    for builder in (None, ORDER.builder):
        with pytest.raises(PolicyNotMetError, match="no publisher key is pinned"):
            verified(folder, Policy(publisher=None, builder=builder))


def test_a_spec_that_nobody_can_prove_refuses(folder: Path) -> None:
    write_release(folder, built=True)
    with pytest.raises(InvalidSpecError, match="no builder key is pinned"):
        verified(folder, Policy(publisher=ROLE, spec=SPEC))
    with pytest.raises(PolicyNotMetError, match="no builder key is pinned"):
        verify_provenance(
            provenance_of(manifest_of(write_files(folder.parent / "f"))),
            manifest=manifest_of(folder.parent / "f"),
            policy=POLICY,
        )


def test_a_role_s_threshold_is_honoured(folder: Path) -> None:
    policy = Policy(publisher=PAIR)
    write_release(folder, ALICE, BOB, MALLORY)
    release = verified(folder, policy)
    assert release.keyids == (ALICE.public.keyid, BOB.public.keyid)
    with pytest.raises(ThresholdNotMetError, match="1 of the trusted keys, 2 needed"):
        verified(write_release(folder.parent / "one", ALICE, MALLORY), policy)


def test_a_key_that_is_pinned_and_did_not_sign_is_not_named(folder: Path) -> None:
    policy = Policy(publisher=replace(PAIR, threshold=1))
    assert verified(write_release(folder, BOB), policy).keyids == (BOB.public.keyid,)


def test_a_pinned_builder_needs_a_provenance(folder: Path) -> None:
    assert verified(write_release(folder, built=True), ORDER).path == folder
    with pytest.raises(PolicyNotMetError, match="there is no provenance"):
        verified(write_release(folder.parent / "unbuilt"), ORDER)


@pytest.mark.parametrize(
    ("provenance", "refusal", "told"),
    [
        ({"builder": MALLORY}, ThresholdNotMetError, "builder: signed by 0"),
        ({"spec": NoopSpec(note="x")}, ProvenanceMismatchError, "another spec"),
        ({"manifest": "other"}, ProvenanceMismatchError, "other files"),
    ],
    ids=["other builder", "other spec", "other files"],
)
def test_a_provenance_of_something_else_is_refused(
    provenance: dict[str, Any],
    refusal: type[VerificationError],
    told: str,
    folder: Path,
) -> None:
    write_release(folder)
    envelope, _ = read_bundle(folder)
    manifest = verified(folder, POLICY).statement.manifest
    if provenance.pop("manifest", None):
        file = FileEntry(name="other.json", size_bytes=0, sha256="0" * 64)
        manifest = Manifest(files=(file,))
    with pytest.raises(refusal, match=told):
        verify_release(
            envelope,
            name=NAME,
            policy=ORDER,
            provenance=provenance_of(manifest, **provenance),
        )


def test_a_pinned_statement_is_that_one_and_no_other(folder: Path) -> None:
    write_release(folder)
    pinned = verified(folder, POLICY).envelope.unverified_payload
    import hashlib  # noqa: PLC0415  the digest is computed apart from our code

    sha256 = hashlib.sha256(pinned).hexdigest()
    good = Policy(publisher=ROLE, statement_sha256=sha256)
    assert verified(folder, good).statement.release == NAME
    with pytest.raises(PolicyNotMetError, match="is pinned"):
        verified(folder, Policy(publisher=ROLE, statement_sha256="0" * 64))


def test_a_folder_tells_its_name_only_after_its_signature(folder: Path) -> None:
    other = ReleaseName("alice", "digits", "2")
    write_release(folder, name=other)
    release = verify_directory(folder, name=None, policy=POLICY)
    assert release.statement.release == other
    with pytest.raises(WrongReleaseError):
        verified(folder, POLICY)


def test_a_folder_without_signatures_is_refused(folder: Path) -> None:
    write_files(folder)
    with pytest.raises(MalformedDocumentError, match="nothing in it is signed"):
        verified(folder, POLICY)


def test_what_is_no_folder_is_told(folder: Path) -> None:
    with pytest.raises(InvalidSpecError, match="there is no such folder"):
        verified(folder, POLICY)
    folder.write_text("a file")
    with pytest.raises(InvalidSpecError, match="expected a folder"):
        verified(folder, POLICY)


def test_what_is_loaded_is_what_was_hashed(folder: Path) -> None:
    release = verified(write_release(folder), POLICY)
    assert load(release)["w"].tolist() == [0, 1, 2, 3]
    path = folder / "model.safetensors"
    path.write_bytes(weights()[:-1] + b"\x01")
    with pytest.raises(DigestMismatchError, match=r"model\.safetensors"):
        load(release)
    path.write_bytes(weights() + b"\x00")
    with pytest.raises(LengthMismatchError, match=r"model\.safetensors"):
        load(release)
    path.unlink()
    with pytest.raises(LocalError, match="cannot read"):
        load(release)


def test_a_release_of_two_weights_files_is_not_loaded_by_guess(folder: Path) -> None:
    write_files(folder.parent / "two")
    (folder.parent / "two" / "b.safetensors").write_bytes(weights())
    files = manifest_of(folder.parent / "two")
    release = verified(write_release(folder, built=True), ORDER)
    statement = replace(release.statement, manifest=files)
    with pytest.raises(InvalidSpecError, match="holds 2 weights files"):
        load(replace(release, statement=statement))


def test_verified_bytes_are_returned_once_read(folder: Path) -> None:
    release = verified(write_release(folder), POLICY)
    file = release.statement.manifest.entry("model.safetensors")
    assert file is not None
    assert read_verified(file, folder) == weights()
    assert not any(path.name == BUNDLE_NAME for path in (folder.parent).iterdir())
    assert BUILDER.public.keyid not in release.keyids
