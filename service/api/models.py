"""Models, their releases and the files of those."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from model_zoo.canonical import canonical_json
from model_zoo.errors import NotFoundError
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.tuf.revocations import YankNotice
from service.accounts.registrations import binding
from service.api.schemas import (
    AcceptedOut,
    HoldersOut,
    ModelItemOut,
    ModelOut,
    ModelsOut,
    ReleaseIn,
    ReleaseOut,
    YankIn,
)
from service.api.trust import accepted, role_files
from service.context import Context
from service.database.queries import visible_size
from service.database.tables import PublisherRow
from service.http.dependencies import ContextHere
from service.http.files import blob_response, file_response
from service.releases.ancestry import children, holders
from service.releases.publish import (
    Submission,
    models,
    publish,
    releases_of,
    require_release,
)
from service.releases.revoke import yank
from service.releases.withdrawals import (
    require_not_withdrawn,
    require_not_withdrawn_file,
    withdrawals,
)
from service.repository.pending import accept_or_hold

router = APIRouter(tags=["models"])
RELEASE = "/models/{publisher}/{model}/releases/{version}"


def _release_name(publisher: str, model: str, version: str) -> ReleaseName:
    return ReleaseName(publisher, model, version)


NameHere = Annotated[ReleaseName, Depends(_release_name)]


@router.get("/models")
def list_models(context: ContextHere) -> ModelsOut:
    """Return every model that has a release, and which versions are withdrawn."""
    gone = withdrawals(context)
    items = [
        ModelItemOut(
            name=str(name),
            versions=versions,
            withdrawn=[
                it
                for it in versions
                if ReleaseName(name.publisher, name.model, it) in gone
            ],
        )
        for name, versions in models(context).items()
    ]
    return ModelsOut(items=items)


@router.get("/models/{publisher}/{model}")
def show_model(publisher: str, model: str, context: ContextHere) -> ModelOut:
    """Return a model and its releases, the oldest first, withdrawn ones marked."""
    name = ModelName(publisher, model)
    gone = withdrawals(context, name)
    releases = [
        ReleaseOut.of(row, gone.get(ReleaseName(publisher, model, row.version)))
        for row in releases_of(context, name)
    ]
    bound = binding(context, PublisherRow, name=publisher)
    return ModelOut(name=str(name), publisher_keyid=bound.keyid, releases=releases)


@router.get(RELEASE)
def show_release(name: NameHere, context: ContextHere) -> ReleaseOut:
    """Return a release: its files and what is signed about them; 410 if withdrawn."""
    require_not_withdrawn(context, name)
    return ReleaseOut.of(require_release(context, name))


@router.put(RELEASE, status_code=HTTPStatus.CREATED)
def publish_release(
    name: NameHere,
    request: Request,
    response: Response,
    body: ReleaseIn,
    context: ContextHere,
) -> ReleaseOut:
    """Publish uploaded files under a name, for good: 201, or 200 if they are already.

    202 where the role lacks a co-signature: it is held until it has it. 403 where the
    statement is signed by another key than the publisher's; 409 where the version has
    other content or the role is not the next one; 422 where statement, files, role and
    provenance do not fit together.
    """
    response.headers["Location"] = request.url.path
    return publish_body(context, name, body, response)


def publish_body(
    context: Context, name: ReleaseName, body: ReleaseIn, response: Response
) -> ReleaseOut:
    """Publish what a request holds, or hold it; say in ``response`` which it was."""
    submission = Submission(
        upload_id=body.upload,
        envelope=Envelope.from_object(body.envelope),
        provenance=None
        if body.provenance is None
        else Envelope.from_object(body.provenance),
        roles=role_files(body.roles),
    )
    published = accept_or_hold(
        context,
        lambda: publish(context, name, submission),
        kind="release",
        name=str(name),
        body=body.model_dump,
    )
    if published is None:
        response.status_code = HTTPStatus.ACCEPTED
        return ReleaseOut.waiting(name, body)
    release, is_new = published
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return ReleaseOut.of(release)


@router.post(RELEASE + "/yank")
def yank_release(
    name: NameHere, body: YankIn, response: Response, context: ContextHere
) -> AcceptedOut:
    """Withdraw a release for good: its publisher's role drops it and says why.

    202 where the role lacks a co-signature: it is held until it has it.
    """
    return yank_body(context, name, body, response)


def yank_body(
    context: Context, name: ReleaseName, body: YankIn, response: Response
) -> AcceptedOut:
    """Withdraw what a request says, or hold it; say in ``response`` which it was."""
    roles = role_files(body.roles)
    notice = YankNotice.read(canonical_json(body.notice))
    versions = accept_or_hold(
        context,
        lambda: yank(context, name, notice=notice, roles=roles),
        kind="yank",
        name=str(name),
        body=body.model_dump,
    )
    return accepted(versions, response)


@router.get("/holders/{sha256}")
def list_holders(sha256: str, context: ContextHere) -> HoldersOut:
    """Return the releases that hold a file of that digest, and those made from it."""
    return HoldersOut(
        releases=[str(name) for name in holders(context, sha256)],
        children=[str(name) for name in children(context, sha256)],
    )


@router.head(RELEASE + "/files/{file}")
@router.get(RELEASE + "/files/{file}")
def download_file(
    name: NameHere, file: str, request: Request, context: ContextHere
) -> Response:
    """Return a file of a release: ranges, ETag, Repr-Digest; 410 if withdrawn."""
    require_not_withdrawn(context, name)
    return file_response(request, context, require_release(context, name).upload, file)


@router.head("/blobs/{sha256}")
@router.get("/blobs/{sha256}")
def download_blob(request: Request, sha256: str, context: ContextHere) -> Response:
    """Return the file of that digest, if it is shown; 410 if it was withdrawn."""
    context.blobs.path(sha256)
    with context.database.reading() as session:
        require_not_withdrawn_file(session, sha256)
        size_bytes = visible_size(session, sha256)
    if size_bytes is None:
        msg = f"no blob {sha256}"
        raise NotFoundError(msg)
    return blob_response(request, context, sha256, size_bytes)
