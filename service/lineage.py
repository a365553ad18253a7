"""Who holds a file and who was made from it: hints, which clients verify."""

from sqlalchemy import select

from model_zoo.digests import is_sha256
from model_zoo.errors import InvalidSpecError
from model_zoo.names import ReleaseName
from service.database.tables import InputRow, ReleaseRow, UploadFileRow
from service.parts import Parts

MAX_NAMES = 256


def holders(parts: Parts, sha256: str) -> list[ReleaseName]:
    """Return the releases that hold the file of that digest, the oldest first."""
    _require_digest(sha256)
    with parts.database.reading() as session:
        rows = session.scalars(
            select(ReleaseRow)
            .join(UploadFileRow, UploadFileRow.upload_id == ReleaseRow.upload_id)
            .where(UploadFileRow.sha256 == sha256)
            .order_by(ReleaseRow.published_at)
            .limit(MAX_NAMES)
        ).unique()
        return list(dict.fromkeys(_name(row) for row in rows))


def children(parts: Parts, sha256: str) -> list[ReleaseName]:
    """Return the releases whose provenance says that they were made from the file."""
    _require_digest(sha256)
    with parts.database.reading() as session:
        rows = session.scalars(
            select(InputRow).where(InputRow.sha256 == sha256).limit(MAX_NAMES)
        )
        return [ReleaseName(row.publisher, row.model, row.version) for row in rows]


def _name(release: ReleaseRow) -> ReleaseName:
    return ReleaseName(release.publisher, release.model, release.version)


def _require_digest(sha256: str) -> None:
    if not is_sha256(sha256):
        msg = "expected a SHA-256 in 64 lowercase hexadecimal digits"
        raise InvalidSpecError(msg)
