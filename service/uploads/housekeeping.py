"""Removal at a start of what nobody will ask for again: no request runs yet."""

import shutil

from sqlalchemy import select

from service.context import Context
from service.database.tables import (
    DraftRow,
    PendingRow,
    ReleaseRow,
    UploadFileRow,
    UploadRow,
)


def sweep(context: Context) -> None:
    """Remove uploads left lying, parts without an upload, blobs without a file.

    A release that waits for a co-signature goes with its upload.
    """
    _forget_old_uploads(context)
    _forget_releases_without_upload(context)
    with context.database.reading() as session:
        opened = set(
            session.scalars(select(UploadRow.id).where(UploadRow.state == "open"))
        )
        needed = set(session.scalars(select(UploadFileRow.sha256)))
    for folder in context.uploads_folder.iterdir():
        if folder.name not in opened:
            shutil.rmtree(folder, ignore_errors=True)
    context.blobs.forget_staged()
    for sha256 in set(context.blobs.digests()) - needed:
        context.blobs.discard(sha256)


def _forget_old_uploads(context: Context) -> None:
    before = context.now() - context.settings.upload_lifetime
    with context.database.writing() as session:
        for upload in session.scalars(
            select(UploadRow).where(
                UploadRow.active_at < before,
                UploadRow.id.not_in(select(ReleaseRow.upload_id)),
                UploadRow.id.not_in(select(DraftRow.upload_id)),
            )
        ):
            session.delete(upload)


def _forget_releases_without_upload(context: Context) -> None:
    with context.database.writing() as session:
        for waiting in session.scalars(select(PendingRow)):
            upload_id = waiting.request["body"].get("upload")
            if upload_id and session.get(UploadRow, upload_id) is None:
                session.delete(waiting)
