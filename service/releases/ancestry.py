"""Which releases contain a file and which were made from it: hints, to be verified.

ADR 27: one release of each publisher, none of them withdrawn.
"""

from sqlalchemy import and_, select

from model_zoo.digests import is_sha256
from model_zoo.errors import InvalidSpecError
from model_zoo.names import ReleaseName
from service.context import Context
from service.database.tables import InputRow, ReleaseRow, UploadFileRow, WithdrawalRow

MAX_NAMES = 256


def containing_releases(context: Context, sha256: str) -> list[ReleaseName]:
    """Return a release of each publisher that holds the file, the oldest first.

    What was withdrawn is left out: no role vouches for it any more. One of each, so
    that nobody's many copies leave no room for another's only one.
    """
    _require_digest(sha256)
    held = (
        select(ReleaseRow.publisher, ReleaseRow.model, ReleaseRow.version)
        .join(UploadFileRow, UploadFileRow.upload_id == ReleaseRow.upload_id)
        .outerjoin(
            WithdrawalRow,
            and_(
                WithdrawalRow.publisher == ReleaseRow.publisher,
                WithdrawalRow.model == ReleaseRow.model,
                WithdrawalRow.version == ReleaseRow.version,
            ),
        )
        .where(UploadFileRow.sha256 == sha256, WithdrawalRow.publisher.is_(None))
        .order_by(ReleaseRow.published_at)
    )
    found: dict[str, ReleaseName] = {}
    with context.database.reading() as session:
        for publisher, model, version in session.execute(held):
            found.setdefault(publisher, ReleaseName(publisher, model, version))
    return list(found.values())[:MAX_NAMES]


def children(context: Context, sha256: str) -> list[ReleaseName]:
    """Return the releases whose provenance says that they were made from the file."""
    _require_digest(sha256)
    with context.database.reading() as session:
        rows = session.scalars(
            select(InputRow).where(InputRow.sha256 == sha256).limit(MAX_NAMES)
        )
        return [ReleaseName(row.publisher, row.model, row.version) for row in rows]


def _require_digest(sha256: str) -> None:
    if not is_sha256(sha256):
        msg = "expected a SHA-256 in 64 lowercase hexadecimal digits"
        raise InvalidSpecError(msg)
