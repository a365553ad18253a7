"""What the service says of a release in other projects' formats."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from model_zoo.digests import sha256_bytes
from model_zoo.interop import mlbom, oms
from model_zoo.keys.p256 import P256Key
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.intoto import vouched_provenance, vouched_release
from service.database.tables import ReleaseRow
from service.http.dependencies import ContextHere
from service.releases.publish import require_release
from service.releases.withdrawals import require_not_withdrawn

router = APIRouter(tags=["attachments"])
"""Mount it under /api/v1."""

RELEASE = "/models/{publisher}/{model}/releases/{version}"
JSON = "application/json"


def _release(
    publisher: str, model: str, version: str, context: ContextHere
) -> ReleaseRow:
    return require_release(context, ReleaseName(publisher, model, version))


ReleaseHere = Annotated[ReleaseRow, Depends(_release)]


def oms_key(context: ContextHere) -> P256Key:
    """Return the key under which this service signs for other projects' verifiers."""
    return context.keys.oms_key


OmsKeyHere = Annotated[P256Key, Depends(oms_key)]


@router.get(RELEASE + "/model.sig")
def download_bundle(
    release: ReleaseHere, key: OmsKeyHere, context: ContextHere
) -> Response:
    """Return the release's OpenSSF Model Signing bundle, under the service's key.

    A withdrawn release gets none: a verifier of this format cannot learn of it.
    """
    statement = vouched_release(Envelope.from_object(release.envelope))
    require_not_withdrawn(context, statement.release)
    return _attachment(oms.write_bundle(statement, key=key), media_type=JSON)


@router.get(RELEASE + "/mlbom.json")
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
