"""Pulling and verifying under a pinned root: root to target, then every byte."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_zoo.client.pull import (
    download_files,
    is_occupied,
    load,
    release_path,
    staging_beside,
)
from model_zoo.digests import is_sha256
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
    VerificationError,
)
from model_zoo.files import read_plain, write_beside
from model_zoo.http.responses import FileReleases
from model_zoo.http.transport import Transport
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.folder import BUNDLE_NAME, FileProgress, entries
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import MAX_BUNDLE_BYTES
from model_zoo.statements.verification import VerifiedRelease, signers, verify_files
from model_zoo.tuf.evidence import (
    Evidence,
    VerifiedAt,
    gather,
    read_evidence,
    verify,
    write_evidence,
)
from model_zoo.tuf.releases import TrustedRelease, release_of
from model_zoo.tuf.revocations import withdrawal
from model_zoo.tuf.updater import Anchor


def pull(
    transport: Transport,
    name: ReleaseName,
    *,
    anchor: Anchor,
    policy: Policy,
    to: Path,
    progress: FileProgress | None = None,
) -> VerifiedRelease:
    """Make ``to`` the folder of a release that the zoo vouches for now.

    A folder that holds this very release already is verified, gets the new evidence
    and is else left alone. A download that broke off is taken up where it stopped.

    Raises:
        ConflictError: ``to`` holds something else.
        NotFoundError: no role vouches for such a release.
        VerificationError: what came cannot be believed; nothing was written.
        TransportError: it did not arrive; what did is kept apart, to be resumed.
        LocalError: it cannot be written.
    """
    release, evidence, verified_at = look_up(
        transport, name, anchor=anchor, policy=policy
    )
    if is_occupied(to):
        _require_same(to, release)
        write_evidence(to, evidence)
    else:
        with staging_beside(to) as staging:
            download_files(
                transport,
                f"{release_path(name)}/files",
                manifest=release.statement.manifest,
                to=staging,
                partials=anchor.partials,
                progress=progress,
            )
            write_beside(staging / BUNDLE_NAME, release.bundle)
            write_evidence(staging, evidence)
    return _verified(to, release, verified_at, policy=policy)


def look_up(
    transport: Transport, name: ReleaseName, *, anchor: Anchor, policy: Policy
) -> tuple[TrustedRelease, Evidence, VerifiedAt]:
    """Return the release that the zoo vouches for now, without its files.

    Raises:
        InvalidSpecError: the policy demands what nothing that is pinned can honour.
        ExpiredMetadataError: what the zoo signed lies ahead of this machine's clock.
        VerificationError: it cannot be believed.
    """
    policy.require_honoured(rooted=True)
    with anchor.refreshed(transport.server) as zoo:
        release, evidence, verified_at = gather(
            zoo,
            name,
            policy=policy,
            containing_releases=lambda sha256: containing_releases(transport, sha256),
            now=anchor.now(),
        )
    verified_at.require_fresh(policy, now=anchor.now())
    return release, evidence, verified_at


def verify_folder(
    folder: Path,
    *,
    anchor: Anchor,
    policy: Policy,
    name: ReleaseName | None = None,
) -> VerifiedRelease:
    """Return the release in a pulled folder, verified without a network.

    Raises:
        ExpiredMetadataError: its evidence is older than the policy allows.
        VerificationError: a subclass for each other way in which it does not hold.
        InvalidSpecError: there is no such folder.
        LocalError: it cannot be read.
    """
    entries(folder)  # a folder that is not there is refused as that, not as unpinned
    policy.require_honoured(rooted=True)
    evidence = read_evidence(folder)
    release, verified_at = verify(
        evidence, anchor.root, name=name, policy=policy, now=anchor.now()
    )
    verify_files(release.statement.manifest, folder)
    _require_bundle(folder, release)
    return _verified(folder, release, verified_at, policy=policy)


def load_folder(
    transport: Transport | None,
    folder: Path,
    *,
    anchor: Anchor,
    policy: Policy,
) -> dict[str, Any]:
    """Return the tensors in a pulled folder, once more verified, and asked about.

    With a transport the zoo is asked again, so that what was withdrawn since it was
    pulled is refused; without one the evidence in the folder must be young enough.

    Raises:
        YankedError: withdrawn, or made from what was.
        VerificationError: a subclass for each other way in which it does not hold.
    """
    found = verify_folder(folder, anchor=anchor, policy=policy)
    if transport is not None:
        name = found.statement.release
        release, _, _ = look_up(transport, name, anchor=anchor, policy=policy)
        _require_same(folder, release)
    return load(found)


def versions(
    transport: Transport, model: ModelName, *, anchor: Anchor
) -> tuple[ReleaseName, ...]:
    """Return the versions of a model that its publisher's role vouches for.

    What was withdrawn is not among them, and nothing that the server lists is.

    Raises:
        NotFoundError: the operator delegated nothing to that publisher.
        VerificationError: metadata cannot be believed.
    """
    with anchor.refreshed(transport.server) as zoo:
        targets = zoo.publisher(model.publisher).targets()
        signed = {name for path in targets if (name := release_of(path))}
        return tuple(
            name
            for name in sorted(signed)
            if name.model_name == model and withdrawal(zoo, name) is None
        )


def containing_releases(transport: Transport, sha256: str) -> Sequence[ReleaseName]:
    """Return which releases the zoo says hold a file: a hint, still to be verified."""
    if not is_sha256(sha256):
        return []
    said = FileReleases.read(transport.get(f"/holders/{sha256}"))
    try:
        return [ReleaseName.parse(name) for name in said.releases]
    except InvalidSpecError as error:
        msg = f"the zoo names a holder that is no release: {error}"
        raise MalformedDocumentError(msg) from error


def _require_bundle(folder: Path, release: TrustedRelease) -> None:
    """Accept a folder whose ``release.json`` is the one that the role vouches for."""
    path = folder / BUNDLE_NAME
    try:
        held = read_plain(path, limit_bytes=MAX_BUNDLE_BYTES)
    except LocalError as error:
        raise MalformedDocumentError(str(error)) from error
    if held != release.bundle:
        msg = f"{path} is not the one that the role vouches for"
        raise MalformedDocumentError(msg)


def _require_same(folder: Path, release: TrustedRelease) -> None:
    statement = release.statement
    try:
        verify_files(statement.manifest, folder)
        _require_bundle(folder, release)
    except (InvalidSpecError, VerificationError) as error:
        msg = f"{folder} holds something else than {statement.release}: {error}"
        raise ConflictError(msg) from error


def _verified(
    folder: Path, release: TrustedRelease, verified_at: VerifiedAt, *, policy: Policy
) -> VerifiedRelease:
    return VerifiedRelease(
        path=folder,
        statement=release.statement,
        envelope=release.envelope,
        keyids=signers(release.envelope, policy=policy),
        as_of=verified_at.as_of,
        witnessed=verified_at.witnessed,
        overridden=release.overridden,
    )
