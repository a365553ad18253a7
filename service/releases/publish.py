"""The one write path of a release: everything is checked, then one row appears.

ADR 12: publishing is idempotent; ADR 17: release, roles and log are one transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from tuf.api.metadata import TargetFile

from model_zoo.canonical import JsonObject
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    ConflictError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
    PolicyNotMetError,
    ProvenanceMismatchError,
    ThresholdNotMetError,
    WrongReleaseError,
)
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.intoto import (
    ReleaseStatement,
    open_provenance,
    open_release,
    subjects_of,
    vouched_provenance,
)
from model_zoo.statements.manifest import Manifest
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.transparency.tlog import LogEntry
from model_zoo.tuf.publisher_roles import release_targets
from model_zoo.tuf.roles import target_path
from service.accounts.registrations import builders, registration, role_of
from service.context import Context
from service.database.queries import complete_upload
from service.database.tables import (
    InputRow,
    PublisherRow,
    ReleaseRow,
    UploadFileRow,
    UploadRow,
    WithdrawalRow,
)
from service.releases.catalog import find_release
from service.releases.withdrawals import (
    IS_TENSORS,
    require_held_files,
    require_not_withdrawn,
    require_not_withdrawn_file,
)
from service.repository.commit import commit, entry, keep_target, mark_served
from service.repository.losses import require_not_lost
from service.repository.pending import HeldChange, hold
from service.repository.validation import Change, check_roles, role_files
from service.uploads.sessions import find_upload, manifest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a publisher sends: files that arrived, and what he signed about them.

    Attributes:
        upload_id: of the files.
        envelope: his statement of the release.
        provenance: how the files were made, as a trainer signed it.
        roles: name -> file of his role's next version, which names the release.
        request: all of it as it was sent, to be held while a signature is lacking.
    """

    upload_id: str
    envelope: Envelope
    provenance: Envelope | None
    roles: Mapping[str, bytes]
    request: JsonObject

    @classmethod
    def read(cls, request: JsonObject) -> Self:
        """Return what the JSON body of a request submits.

        Raises:
            MalformedDocumentError: an envelope is no DSSE, or a role no JSON.
        """
        provenance = request["provenance"]
        return cls(
            upload_id=request["upload"],
            envelope=Envelope.from_object(request["envelope"]),
            provenance=None if provenance is None else Envelope.from_object(provenance),
            roles=role_files(request["roles"]),
            request=request,
        )


def publish(
    context: Context, name: ReleaseName, submission: Submission
) -> tuple[ReleaseRow, bool] | None:
    """Publish ``name``, or hold it until enough of the publisher's keys signed.

    Publishing the same statement again is no error, so that a lost answer can be
    asked for again. Of two publishers of one version, the first to commit wins.

    Returns:
        The release and whether it is new; None where it is held.

    Raises:
        NotPermittedError: the publisher is not bound, has no room left, or another key
            signed.
        VerificationError: statement, files or provenance do not fit together.
        ConflictError: the version is taken by other content, the upload is open, or
            another change of the publisher waits for signatures.
        NotFoundError: there is no such upload.
        YankedError: a file, or what it was made from, was withdrawn.
    """
    statement = _opened(context, name, submission.envelope)
    published = find_release(context, name)
    if published is not None:
        require_not_withdrawn(context, name)
        return _same(context, published, statement), False
    upload = find_upload(context, submission.upload_id)
    if upload.state != "complete":
        msg = f"upload {upload.id} is not complete"
        raise ConflictError(msg)
    _check_files(context, statement.manifest, declared=manifest_of(upload))
    if submission.provenance is not None:
        _check_provenance(context, statement.manifest, submission.provenance)
    try:
        release = _appear(context, name, submission)
    except (IntegrityError, ConflictError):
        # Somebody was faster: with this very release, or with another one.
        published = find_release(context, name)
        if published is None:
            raise
        return _same(context, published, statement), False
    return None if release is None else (release, True)


def _opened(
    context: Context, name: ReleaseName, envelope: Envelope
) -> ReleaseStatement:
    try:
        publisher = registration(context, PublisherRow, name=name.publisher)
        statement = open_release(envelope, role_of(publisher))
    except (NotFoundError, ThresholdNotMetError) as error:
        msg = f"{name} is not yours to publish: {error}"
        raise NotPermittedError(msg) from error
    if statement.release != name:
        raise WrongReleaseError.of(expected=str(name), found=str(statement.release))
    return statement


def _check_files(context: Context, signed: Manifest, *, declared: Manifest) -> None:
    """Hash the stored bytes once more: what is signed is what is on disk now."""
    if signed != declared:
        msg = "the signed statement lists other files than the upload holds"
        raise MalformedDocumentError(msg)
    for file in signed.files:
        context.blobs.require_intact(file.sha256)


def _check_provenance(context: Context, manifest: Manifest, envelope: Envelope) -> None:
    role = builders(context)
    if role is None:
        msg = "this zoo has no trainers whose provenance it could believe"
        raise PolicyNotMetError(msg)
    if open_provenance(envelope, role).subjects != subjects_of(manifest):
        msg = "the provenance is of other files than the release"
        raise ProvenanceMismatchError(msg)


def _appear(
    context: Context, name: ReleaseName, submission: Submission
) -> ReleaseRow | None:
    """Write the release with its roles in one transaction; None where it is held."""
    with context.database.writing() as session:
        upload = _usable_upload(session, context, name, submission)
        lacking = check_roles(
            session,
            name.publisher,
            submission.roles,
            change=Change(add=role_targets(name, submission, upload=upload)),
            now=context.now(),
        )
        if lacking is not None:
            body = submission.request
            change = HeldChange(kind="release", name=str(name), body=body)
            hold(session, context, change)
            return None
        bundle = _bundle(submission)
        path = target_path(name, BUNDLE_NAME)
        keep_target(session, path, bundle, sha256=sha256_bytes(bundle))
        commit(session, context, submission.roles, entries=_entries(name, submission))
        release = ReleaseRow(
            publisher=name.publisher,
            model=name.model,
            version=name.version,
            upload=upload,
            envelope=submission.envelope.to_object(),
            provenance=_object(submission.provenance),
            published_at=context.now(),
        )
        session.add(release)
        # The inputs' foreign keys refer to the release, which no relationship tells.
        session.flush()
        session.add_all(_inputs(name, submission))
    return release


def _usable_upload(
    session: Session, context: Context, name: ReleaseName, submission: Submission
) -> UploadRow:
    """Return the upload if its files may appear under ``name`` now."""
    upload = complete_upload(session, submission.upload_id)
    if upload is None:
        msg = f"upload {submission.upload_id} was deleted meanwhile"
        raise ConflictError(msg)
    if session.get(WithdrawalRow, (name.publisher, name.model, name.version)):
        msg = f"{name} was withdrawn; there is no un-yank: choose another version"
        raise ConflictError(msg)
    require_not_lost(session, str(name), submission.envelope.unverified_payload)
    manifest = manifest_of(upload)
    _require_usable(session, name, submission, manifest=manifest)
    require_room(session, context, name.publisher, adding=manifest)
    return upload


def require_room(
    session: Session, context: Context, publisher: str, *, adding: Manifest
) -> None:
    """Accept a release that leaves the publisher within his quota.

    A release counts as one and each of its tensor files as one more, withdrawn or not:
    his roles and the index of withdrawn files have to name them for good.

    Raises:
        NotPermittedError: there is no room.
    """
    his = select(ReleaseRow.upload_id).where(ReleaseRow.publisher == publisher)
    releases = select(func.count()).select_from(his.subquery())
    tensors = (
        select(func.count())
        .select_from(UploadFileRow)
        .join(ReleaseRow, ReleaseRow.upload_id == UploadFileRow.upload_id)
        .where(ReleaseRow.publisher == publisher, IS_TENSORS)
    )
    used = (session.scalar(releases) or 0) + (session.scalar(tensors) or 0)
    wanted, most = 1 + len(adding.tensors()), context.settings.max_publisher_targets
    if used + wanted > most:
        msg = (
            f"{publisher} has {used} of {most} releases and tensor files, and this "
            f"would add {wanted}: publish fewer files, or ask the operator for another "
            "name; what is published stays, and can be withdrawn"
        )
        raise NotPermittedError(msg)


def _require_usable(
    session: Session, name: ReleaseName, submission: Submission, *, manifest: Manifest
) -> None:
    """Accept files and inputs of which none was withdrawn."""
    tensors = [file.sha256 for file in manifest.tensors()]
    require_held_files(session, name.publisher, tensors)
    if submission.provenance is not None:
        for sha256 in vouched_provenance(submission.provenance).inputs.values():
            require_not_withdrawn_file(session, sha256)


def _inputs(name: ReleaseName, submission: Submission) -> list[InputRow]:
    if submission.provenance is None:
        return []
    inputs = vouched_provenance(submission.provenance).inputs
    return [
        InputRow(
            sha256=sha256,
            publisher=name.publisher,
            model=name.model,
            version=name.version,
        )
        for sha256 in sorted(set(inputs.values()))
    ]


def role_targets(
    name: ReleaseName, submission: Submission, *, upload: UploadRow
) -> dict[str, TargetFile]:
    """Return the target files that a release adds to its role: bundle and weights."""
    return release_targets(name, manifest_of(upload), bundle=_bundle(submission))


def _bundle(submission: Submission) -> bytes:
    return bundle_bytes(envelope=submission.envelope, provenance=submission.provenance)


def _entries(name: ReleaseName, submission: Submission) -> list[LogEntry]:
    envelopes = [submission.envelope, submission.provenance]
    return [
        entry("attestation", str(name), envelope.unverified_payload)
        for envelope in envelopes
        if envelope is not None
    ]


def _object(envelope: Envelope | None) -> JsonObject | None:
    return None if envelope is None else envelope.to_object()


def _same(
    context: Context, release: ReleaseRow, statement: ReleaseStatement
) -> ReleaseRow:
    """Return the published release if it says what ``statement`` says."""
    mark_served(context)  # who published it may have been told that it cannot be marked
    if manifest_of(release.upload) != statement.manifest:
        name = f"{release.publisher}/{release.model}@{release.version}"
        msg = f"{name} is published with other content; choose another version"
        raise ConflictError(msg)
    return release
