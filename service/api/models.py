"""Models, their releases and files, and what other projects' tools read of them.

ADR 12: a release is put once. ADR 15: no route guesses which is the newest. ADR 19:
what other projects' formats say.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from model_zoo.clock import rfc3339
from model_zoo.digests import sha256_bytes
from model_zoo.http.responses import Withdrawn
from model_zoo.interop import mlbom, oms
from model_zoo.keys.p256 import P256Key
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.intoto import vouched_provenance, vouched_release
from model_zoo.statements.manifest import FileEntry
from service.accounts.registrations import registration
from service.api.schemas import AcceptedOut, Dsse, Incoming, Roles
from service.database.tables import PublisherRow, ReleaseRow, WithdrawalRow
from service.http.dependencies import ContextHere
from service.http.files import blob_response
from service.releases.ancestry import children, containing_releases
from service.releases.catalog import models, releases_of, require_release
from service.releases.files import file_of_digest, release_file
from service.releases.publish import Submission, publish
from service.releases.revoke import Revocation, revoke
from service.releases.withdrawals import require_not_withdrawn, withdrawals
from service.uploads.sessions import manifest_of

router = APIRouter(tags=["models"])
attachments = APIRouter(tags=["attachments"])
"""What the service says of a release in other projects' formats."""
RELEASE = "/models/{publisher}/{model}/releases/{version}"
JSON = "application/json"


class ReleaseIn(Incoming):
    """Uploaded files, the publisher's statement, and how they were made."""

    upload: str
    envelope: Dsse
    provenance: Dsse | None = None
    roles: Roles


class YankIn(Incoming):
    """A publisher's notice, and his role's next version without the release."""

    notice: dict[str, Any]
    roles: Roles


class HoldersOut(BaseModel):
    """Releases that hold a file of some digest: a hint that clients verify."""

    releases: list[str]
    children: list[str]


class WithdrawnOut(Withdrawn):
    """Who withdrew a release, the publisher or the operator, when and why."""

    @classmethod
    def of(cls, row: WithdrawalRow) -> "WithdrawnOut":
        """Return what the API says of a withdrawal."""
        at = rfc3339(row.withdrawn_at)
        return cls(by=row.withdrawn_by, at=at, reason=row.reason)


class ReleaseOut(BaseModel):
    """A release: its files, and what is signed about them."""

    name: str
    published_at: str
    files: list[FileEntry]
    envelope: Dsse
    provenance: Dsse | None
    pending: bool = False
    withdrawn: WithdrawnOut | None = None

    @classmethod
    def waiting(cls, name: ReleaseName, body: ReleaseIn) -> "ReleaseOut":
        """Return what the API says of a release that lacks a co-signature."""
        return cls(
            name=str(name),
            published_at="",
            files=[],
            envelope=body.envelope,
            provenance=body.provenance,
            pending=True,
        )

    @classmethod
    def of(
        cls, row: ReleaseRow, withdrawal: WithdrawalRow | None = None
    ) -> "ReleaseOut":
        """Return what the API says of a release, and of its withdrawal."""
        return cls(
            name=f"{row.publisher}/{row.model}@{row.version}",
            published_at=rfc3339(row.published_at),
            files=list(manifest_of(row.upload).files),
            envelope=row.envelope,
            provenance=row.provenance,
            withdrawn=None if withdrawal is None else WithdrawnOut.of(withdrawal),
        )


class ModelOut(BaseModel):
    """A model, its publisher's key and every release."""

    name: str
    publisher_keyid: str
    releases: list[ReleaseOut]


class ModelItemOut(BaseModel):
    """A model in a list: its versions, and which of these are withdrawn."""

    name: str
    versions: list[str]
    withdrawn: list[str]


class ModelsOut(BaseModel):
    """Every model."""

    items: list[ModelItemOut]


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
    bound = registration(context, PublisherRow, name=publisher)
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
    published = publish(context, name, Submission.read(body.model_dump()))
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
    versions = revoke(context, name, Revocation.read(body.model_dump()))
    if versions is None:
        response.status_code = HTTPStatus.ACCEPTED
        return AcceptedOut(versions={}, pending=True)
    return AcceptedOut(versions=versions)


@router.get("/holders/{sha256}")
def list_holders(sha256: str, context: ContextHere) -> HoldersOut:
    """Return the releases that hold a file of that digest, and those made from it."""
    return HoldersOut(
        releases=[str(name) for name in containing_releases(context, sha256)],
        children=[str(name) for name in children(context, sha256)],
    )


@router.head(RELEASE + "/files/{file}")
@router.get(RELEASE + "/files/{file}")
def download_file(
    name: NameHere, file: str, request: Request, context: ContextHere
) -> Response:
    """Return a file of a release: ranges, ETag, Repr-Digest; 410 if withdrawn."""
    return blob_response(request, context, release_file(context, name, file))


@router.head("/blobs/{sha256}")
@router.get("/blobs/{sha256}")
def download_blob(request: Request, sha256: str, context: ContextHere) -> Response:
    """Return the file of that digest, if it is shown; 410 if it was withdrawn."""
    return blob_response(request, context, file_of_digest(context, sha256))


def _release(name: NameHere, context: ContextHere) -> ReleaseRow:
    return require_release(context, name)


ReleaseHere = Annotated[ReleaseRow, Depends(_release)]


def oms_key(context: ContextHere) -> P256Key:
    """Return the key under which this service signs for other projects' verifiers."""
    return context.keys.oms_key


OmsKeyHere = Annotated[P256Key, Depends(oms_key)]


@attachments.get(RELEASE + "/model.sig")
def download_bundle(
    release: ReleaseHere, key: OmsKeyHere, context: ContextHere
) -> Response:
    """Return the release's OpenSSF Model Signing bundle, under the service's key.

    A withdrawn release gets none: a verifier of this format cannot learn of it.
    """
    statement = vouched_release(Envelope.from_object(release.envelope))
    require_not_withdrawn(context, statement.release)
    return _attachment(oms.write_bundle(statement, key=key), media_type=JSON)


@attachments.get(RELEASE + "/mlbom.json")
def download_ml_bom(release: ReleaseHere) -> Response:
    """Return the release as a CycloneDX bill of materials; it is not signed."""
    envelope = Envelope.from_object(release.envelope)
    bill = mlbom.ml_bom(
        vouched_release(envelope),
        statement_sha256=sha256_bytes(envelope.unverified_payload),
        provenance=None
        if release.provenance is None
        else vouched_provenance(Envelope.from_object(release.provenance)),
    )
    return _attachment(bill, media_type=mlbom.MEDIA_TYPE)


def _attachment(data: bytes, *, media_type: str) -> Response:
    headers = {
        "ETag": f'"{sha256_bytes(data)}"',
        "Cache-Control": "no-cache",
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, media_type=media_type, headers=headers)
