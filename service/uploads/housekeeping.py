"""What nobody will ask for again, removed at a start: no request runs yet."""

import shutil

from sqlalchemy import select

from service.context import Parts
from service.database.tables import (
    DraftRow,
    PendingRow,
    ReleaseRow,
    UploadFileRow,
    UploadRow,
)


def sweep(parts: Parts) -> None:
    """Remove uploads left lying, parts without an upload, blobs without a file.

    A release that waits for a co-signature goes with its upload.
    """
    _forget_old_uploads(parts)
    _forget_releases_without_upload(parts)
    with parts.database.reading() as session:
        opened = set(
            session.scalars(select(UploadRow.id).where(UploadRow.state == "open"))
        )
        needed = set(session.scalars(select(UploadFileRow.sha256)))
    for folder in parts.uploads_folder.iterdir():
        if folder.name not in opened:
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(parts.blobs.root / "staging", ignore_errors=True)
    for sha256 in set(parts.blobs.digests()) - needed:
        parts.blobs.discard(sha256)


def _forget_old_uploads(parts: Parts) -> None:
    before = parts.now() - parts.settings.upload_lifetime
    with parts.database.writing() as session:
        for upload in session.scalars(
            select(UploadRow).where(
                UploadRow.active_at < before,
                UploadRow.id.not_in(select(ReleaseRow.upload_id)),
                UploadRow.id.not_in(select(DraftRow.upload_id)),
            )
        ):
            session.delete(upload)


def _forget_releases_without_upload(parts: Parts) -> None:
    with parts.database.writing() as session:
        for waiting in session.scalars(select(PendingRow)):
            upload_id = waiting.request["body"].get("upload")
            if upload_id and session.get(UploadRow, upload_id) is None:
                session.delete(waiting)
