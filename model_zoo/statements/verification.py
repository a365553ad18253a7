"""Verifying a release: numbered steps, nothing believed before its signature."""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from model_zoo.digests import sha256_bytes, sha256_stream
from model_zoo.errors import (
    DigestMismatchError,
    LengthMismatchError,
    MalformedDocumentError,
    PolicyNotMetError,
    ProvenanceMismatchError,
    WrongReleaseError,
)
from model_zoo.files import open_plain, translate_os_errors
from model_zoo.formats.check import check_format
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope, pre_authentication_encoding
from model_zoo.statements.folder import RESERVED_NAMES, entries, is_plain_file
from model_zoo.statements.intoto import (
    Provenance,
    ReleaseStatement,
    open_provenance,
    open_release,
    subjects_of,
)
from model_zoo.statements.manifest import FileEntry, Manifest
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import read_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRelease:
    """A folder whose files are the release, to the last byte, when it was checked.

    It says who made it and what it is, never how the model behaves.

    Attributes:
        path: the folder.
        statement: the release's name and files.
        envelope: the publisher's signed statement.
        keyids: the pinned publisher keys that signed it; none where only a root is.
        as_of: under a trust root, when the zoo vouched for it; later yanks are unseen.
        witnessed: whether witnesses attest to that moment.
        overridden: withdrawals that the policy said to ignore.
    """

    path: Path
    statement: ReleaseStatement
    envelope: Envelope
    keyids: tuple[str, ...] = ()
    as_of: datetime | None = None
    witnessed: bool = False
    overridden: tuple[str, ...] = ()


def verify_release(
    envelope: Envelope,
    *,
    name: ReleaseName | None,
    policy: Policy,
    provenance: Envelope | None = None,
) -> ReleaseStatement:
    """Return the statement about a release, once the policy holds for it.

    Args:
        envelope: the release statement, from anyone.
        name: the release that was asked for; None where the caller asked for a folder
            and shows which release it turned out to be.
        policy: whose signatures are needed.
        provenance: the builder's statement, from anyone.

    Raises:
        VerificationError: a subclass for each way in which it does not hold.
        InvalidSpecError: the policy demands what only a root can honour.
    """
    # (1) A policy that demands nothing refuses, and so does one that demands what keys
    #     alone cannot honour.
    policy.require_honoured(rooted=False)
    # (2) Enough of the pinned publisher keys signed the statement; only now is it
    #     parsed, and it must be a release statement whose subjects are its files.
    statement = open_release(envelope, policy.require_keys())
    # (3) It speaks of the release that was asked for: a signature over another
    #     release, or another version of this one, is worth nothing here.
    if name is not None and statement.release != name:
        raise WrongReleaseError.of(expected=str(name), found=str(statement.release))
    # (4) It leaves room for the signatures beside the files.
    require_no_reserved_name(statement.manifest)
    # (5) All else that the policy demands holds.
    require_demands(statement, envelope, policy=policy, provenance=provenance)
    return statement


def require_demands(
    statement: ReleaseStatement,
    envelope: Envelope,
    *,
    policy: Policy,
    provenance: Envelope | None,
) -> None:
    """Accept a release that shows what a policy demands, whatever is pinned.

    Args:
        statement: what the release says; its name is the one that was asked for.
        envelope: the statement, signed.
        policy: what is demanded; the pinned keys, if any, must have signed.
        provenance: the builder's statement, from anyone.

    Raises:
        VerificationError: a subclass for each way in which it does not hold.
    """
    # (1) It is from a publisher that the policy accepts.
    policy.require_accepted(statement.release)
    # (2) Where publisher keys are pinned, enough of them signed it.
    if policy.publisher is not None:
        open_release(envelope, policy.publisher)
    # (3) Where a lock file pins one statement, it is that one to the last byte.
    found = sha256_bytes(envelope.unverified_payload)
    if policy.statement_sha256 not in {None, found}:
        msg = (
            f"{statement.release}: a statement of digest {policy.statement_sha256} is "
            f"pinned, the publisher signed another: {found}"
        )
        raise PolicyNotMetError(msg)
    # (4) Where a builder is pinned, that builder says how these files were made.
    if policy.builder is not None:
        if provenance is None:
            msg = f"{statement.release}: a builder is pinned and there is no provenance"
            raise PolicyNotMetError(msg)
        verify_provenance(provenance, manifest=statement.manifest, policy=policy)


def verify_provenance(
    envelope: Envelope, *, manifest: Manifest, policy: Policy
) -> Provenance:
    """Return how the pinned builder made ``manifest``, if that is as it should be.

    Raises:
        VerificationError: a subclass for each way in which it does not hold.
    """
    # (1) A policy that names no builder refuses.
    if policy.builder is None:
        msg = "no builder key is pinned, so no provenance can be verified: give one"
        raise PolicyNotMetError(msg)
    # (2) The builder signed it; only now is it parsed.
    provenance = open_provenance(envelope, policy.builder)
    # (3) It speaks of exactly these files.
    if provenance.subjects != subjects_of(manifest):
        msg = "the provenance is of other files than these"
        raise ProvenanceMismatchError(msg)
    # (4) Where a spec is expected, the build claims to have followed it.
    if policy.spec is not None and not provenance.is_of(policy.spec):
        msg = "the provenance is of another spec than the one expected"
        raise ProvenanceMismatchError(msg)
    return provenance


def require_no_reserved_name(manifest: Manifest) -> None:
    """Accept a manifest that leaves room for the signatures beside the files.

    Raises:
        MalformedDocumentError: it lists a file of RESERVED_NAMES.
    """
    for reserved in sorted(RESERVED_NAMES):
        if manifest.entry(reserved) is not None:
            msg = f"release statement: a release holds no file called {reserved}"
            raise MalformedDocumentError(msg)


def verify_files(manifest: Manifest, folder: Path) -> None:
    """Accept ``folder`` only if it holds exactly the files of ``manifest``.

    Files of RESERVED_NAMES beside them are allowed: they hold the signatures.

    Raises:
        VerificationError: a file is missing, extra, not plain, of another length or
            digest, or of a format that can run code.
        InvalidSpecError: there is no such folder.
        LocalError: it cannot be read.
    """
    found = entries(folder)
    for reserved in RESERVED_NAMES:
        found.pop(reserved, None)
    # (1) No file is missing and none was added.
    expected = {file.name for file in manifest.files}
    for name in sorted(expected ^ found.keys()):
        state = "missing" if name in expected else "not part of the release"
        msg = f"{folder}: {name[:80]!a} is {state}"
        raise MalformedDocumentError(msg)
    for file in manifest.files:
        # (2) Each is a plain file: what a link points to can change behind our back.
        if not is_plain_file(found[file.name]):
            msg = f"{folder}: {file.name} is not a plain file"
            raise MalformedDocumentError(msg)
        # (3) Each has the signed length and digest.
        _verify_file(file, folder / file.name)
        # (4) None can run code when it is loaded.
        check_format(folder / file.name, name=file.name)


def verify_directory(
    folder: Path, *, name: ReleaseName | None, policy: Policy
) -> VerifiedRelease:
    """Return the release in a pulled folder, verified anew and without a network.

    Args:
        folder: the files, and ``release.json`` with their signatures.
        name: the release it should be; None to learn it from the signed statement.
        policy: whose signatures are needed.

    Raises:
        VerificationError: a subclass for each way in which it does not hold.
        InvalidSpecError: there is no such folder.
        LocalError: it cannot be read.
    """
    envelope, provenance = read_bundle(folder)
    statement = verify_release(
        envelope, name=name, policy=policy, provenance=provenance
    )
    verify_files(statement.manifest, folder)
    return verified(folder, statement, envelope, policy=policy)


def read_verified(file: FileEntry, folder: Path) -> bytes:
    """Return the bytes of ``file``: the very ones that were hashed, read once.

    Raises:
        LengthMismatchError: longer or shorter than signed.
        DigestMismatchError: other bytes than signed.
        LocalError: it cannot be read.
    """
    path = folder / file.name
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as stream:
        data = stream.read(file.size_bytes + 1)
    if len(data) != file.size_bytes:
        raise _wrong_length(file, len(data))
    if (found := sha256_bytes(data)) != file.sha256:
        raise DigestMismatchError.of(file.name, expected=file.sha256, found=found)
    return data


def _verify_file(file: FileEntry, path: Path) -> None:
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
        if size_bytes != file.size_bytes:
            raise _wrong_length(file, size_bytes)
        found = sha256_stream(stream)
    if found != file.sha256:
        raise DigestMismatchError.of(file.name, expected=file.sha256, found=found)


def _wrong_length(file: FileEntry, size_bytes: int) -> LengthMismatchError:
    return LengthMismatchError.of(
        file.name, expected=file.size_bytes, found=str(size_bytes)
    )


def verified(
    folder: Path,
    statement: ReleaseStatement,
    envelope: Envelope,
    *,
    policy: Policy,
) -> VerifiedRelease:
    """Return the release in ``folder``, which was verified by pinned keys."""
    return VerifiedRelease(
        path=folder,
        statement=statement,
        envelope=envelope,
        keyids=signers(envelope, policy=policy),
    )


def signers(envelope: Envelope, *, policy: Policy) -> tuple[str, ...]:
    """Return the keyids of the pinned publisher keys that signed a statement."""
    keys = () if policy.publisher is None else policy.publisher.keys
    return tuple(key.keyid for key in keys if _signed_by(key, envelope))


def _signed_by(key: PublicKey, envelope: Envelope) -> bool:
    message = pre_authentication_encoding(
        envelope.payload_type, envelope.unverified_payload
    )
    return any(
        signature.keyid == key.keyid and key.signed(message, signature.value)
        for signature in envelope.signatures
    )
