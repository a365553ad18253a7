"""The one write path of a release: everything is checked, then one row appears."""

from collections.abc import Mapping
from dataclasses import dataclass

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
from model_zoo.names import ModelName, ReleaseName
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
from service.accounts.registrations import binding, builders, role_of
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
from service.releases.withdrawals import (
    IS_TENSORS,
    require_held_files,
    require_not_withdrawn,
    require_not_withdrawn_file,
)
from service.repository.commit import commit, entry, keep_target, mark_served
from service.repository.losses import require_not_lost
from service.repository.validation import Change, require_roles
from service.uploads.sessions import find_upload, manifest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a publisher sends: files that arrived, and what he signed about them.

    ``roles`` maps name to file of his role's next version, which names the release.
    """

    upload_id: str
    envelope: Envelope
    provenance: Envelope | None
    roles: Mapping[str, bytes]


def publish(
    context: Context, name: ReleaseName, submission: Submission
) -> tuple[ReleaseRow, bool]:
    """Publish ``name``; return the release and whether it is new.

    Publishing the same statement again is no error, so that a lost answer can be
    asked for again. Of two publishers of one version, the first to commit wins.

    Raises:
        NotPermittedError: the publisher is not bound, has no room left, or another key
            signed.
        VerificationError: statement, files or provenance do not fit together.
        ConflictError: the version is taken by other content, or the upload is open.
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
        return _appear(context, name, submission), True
    except (IntegrityError, ConflictError):
        # Somebody was faster: with this very release, or with another one.
        published = find_release(context, name)
        if published is None:
            raise
        return _same(context, published, statement), False


def find_release(context: Context, name: ReleaseName) -> ReleaseRow | None:
    """Return the release, or None."""
    key = (name.publisher, name.model, name.version)
    with context.database.reading() as session:
        return session.get(ReleaseRow, key)


def require_release(context: Context, name: ReleaseName) -> ReleaseRow:
    """Return the release.

    Raises:
        NotFoundError: there is none of that name.
    """
    release = find_release(context, name)
    if release is None:
        msg = f"no release {name}"
        raise NotFoundError(msg)
    return release


def releases_of(context: Context, name: ModelName) -> list[ReleaseRow]:
    """Return the model's releases, the oldest first.

    Raises:
        NotFoundError: it has none.
    """
    with context.database.reading() as session:
        releases = list(
            session.scalars(
                select(ReleaseRow)
                .where(
                    ReleaseRow.publisher == name.publisher,
                    ReleaseRow.model == name.model,
                )
                .order_by(ReleaseRow.published_at, ReleaseRow.version)
            )
        )
    if not releases:
        msg = f"no model {name}"
        raise NotFoundError(msg)
    return releases


def models(context: Context) -> dict[ModelName, list[str]]:
    """Return every model that has a release, with its versions, the oldest first."""
    found: dict[ModelName, list[str]] = {}
    with context.database.reading() as session:
        for publisher, model, version in session.execute(
            select(ReleaseRow.publisher, ReleaseRow.model, ReleaseRow.version).order_by(
                ReleaseRow.publisher,
                ReleaseRow.model,
                ReleaseRow.published_at,
                ReleaseRow.version,
            )
        ):
            found.setdefault(ModelName(publisher, model), []).append(version)
    return found


def _opened(
    context: Context, name: ReleaseName, envelope: Envelope
) -> ReleaseStatement:
    try:
        publisher = binding(context, PublisherRow, name=name.publisher)
        statement = open_release(envelope, role_of(publisher))
    except (NotFoundError, ThresholdNotMetError) as error:
        msg = f"{name} is not yours to publish: {error}"
        raise NotPermittedError(msg) from error
    if statement.release != name:
        raise WrongReleaseError(expected=str(name), found=str(statement.release))
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


def _appear(context: Context, name: ReleaseName, submission: Submission) -> ReleaseRow:
    with context.database.writing() as session:
        upload = complete_upload(session, submission.upload_id)
        if upload is None:
            msg = f"upload {submission.upload_id} was deleted meanwhile"
            raise ConflictError(msg)
        if session.get(WithdrawalRow, (name.publisher, name.model, name.version)):
            msg = f"{name} was withdrawn; there is no un-yank: choose another version"
            raise ConflictError(msg)
        statement = submission.envelope.unverified_payload
        require_not_lost(session, str(name), statement)
        _require_usable(session, name, submission, manifest=manifest_of(upload))
        require_room(session, context, name.publisher, adding=manifest_of(upload))
        files = role_targets(name, submission, upload=upload)
        require_roles(
            session,
            name.publisher,
            submission.roles,
            change=Change(add=files),
            now=context.now(),
        )
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
        session.flush()
        session.add_all(_inputs(name, submission))
    return release


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
    """Accept files, and what they were made from, that nobody would refuse at once."""
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
    """Return what the publisher's role must say of a release: bundle and weights."""
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
