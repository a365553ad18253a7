"""Queries that more than one operation needs."""

from collections.abc import Collection

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from service.database.tables import (
    DraftRow,
    PendingRow,
    ReleaseRow,
    UploadFileRow,
    UploadRow,
)


def is_referred_to(session: Session, upload_id: str) -> bool:
    """Whether a release or a draft consists of this upload."""
    return any(
        session.scalar(select(table.upload_id).where(table.upload_id == upload_id))
        for table in (ReleaseRow, DraftRow)
    )


def visible_size(session: Session, sha256: str) -> int | None:
    """Return the size of a blob that some release or draft shows; None if none does."""
    return visible_sizes(session, (sha256,)).get(sha256)


def visible_sizes(session: Session, digests: Collection[str]) -> dict[str, int]:
    """Return the sizes of those blobs that some release or draft shows.

    A blob of an upload that nobody published must not be found by its digest.
    """
    shown = or_(
        UploadFileRow.upload_id.in_(select(ReleaseRow.upload_id)),
        UploadFileRow.upload_id.in_(select(DraftRow.upload_id)),
    )
    found = session.execute(
        select(UploadFileRow.sha256, UploadFileRow.size_bytes)
        .where(UploadFileRow.sha256.in_(digests), shown)
        .distinct()
    )
    return {row.sha256: row.size_bytes for row in found}


def complete_upload(session: Session, upload_id: str) -> UploadRow | None:
    """Return the upload if it exists and everything in it was checked."""
    upload = session.get(UploadRow, upload_id)
    return upload if upload is not None and upload.state == "complete" else None


def unused_uploads() -> Select[UploadRow]:
    """Return the question for the uploads that nothing refers to, newest first.

    A release, a draft, or a release that waits for a signature refers to one.
    """
    waiting = PendingRow.request["body", "upload"].as_string()
    return (
        select(UploadRow)
        .where(
            UploadRow.id.not_in(select(ReleaseRow.upload_id)),
            UploadRow.id.not_in(select(DraftRow.upload_id)),
            UploadRow.id.not_in(select(waiting).where(waiting.is_not(None))),
        )
        .order_by(UploadRow.active_at.desc(), UploadRow.id)
    )
