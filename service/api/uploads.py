"""Uploads: declare, send parts, complete.

ADR 12.
"""

from http import HTTPStatus
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.manifest import MAX_FILES, FileEntry, Manifest
from service.api.schemas import Incoming
from service.context import Context
from service.database.tables import UploadRow
from service.http.dependencies import ContextHere
from service.http.files import sha256_in
from service.storage.blobs import CHUNK_BYTES
from service.storage.part_writer import PartSlot, PartWriter
from service.uploads.sessions import (
    complete,
    discard_upload,
    find_upload,
    missing_parts,
    open_upload,
    part_count,
    part_slot,
)

router = APIRouter(tags=["uploads"])
MAX_CHECKS = 4
"""Uploads put together and hashed at once; each takes a thread, and room on disk."""
_CHECKS: RunVar[CapacityLimiter] = RunVar("checks of uploads")


class UploadIn(Incoming):
    """The files that will come."""

    files: Annotated[list[FileEntry], Field(min_length=1, max_length=MAX_FILES)]


class UploadFileOut(BaseModel):
    """A declared file and the parts that have yet to come."""

    name: str
    size_bytes: int
    sha256: str
    parts: int
    missing: list[int]


class UploadOut(BaseModel):
    """How far an upload is."""

    id: str
    state: str
    part_bytes: int
    files: list[UploadFileOut]


@router.post("/uploads", status_code=HTTPStatus.CREATED)
def declare_upload(
    request: Request, response: Response, body: UploadIn, context: ContextHere
) -> UploadOut:
    """Declare files; the answer says in which parts to send them."""
    try:
        manifest = Manifest(files=tuple(body.files))
    except ValueError as error:
        msg = "files: a name is listed twice"
        raise InvalidSpecError(msg) from error
    upload = open_upload(context, manifest)
    response.headers["Location"] = f"{request.url.path}/{upload.id}"
    return _answer(context, upload)


@router.get("/uploads/{upload_id}")
def show_upload(upload_id: str, context: ContextHere) -> UploadOut:
    """Return how far an upload is: which parts are missing."""
    return _answer(context, find_upload(context, upload_id))


@router.delete("/uploads/{upload_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_upload(upload_id: str, context: ContextHere) -> None:
    """Forget an upload that nothing was published from."""
    discard_upload(context, upload_id)


@router.put(
    "/uploads/{upload_id}/files/{name}/parts/{number}",
    status_code=HTTPStatus.NO_CONTENT,
)
async def send_part(
    request: Request, upload_id: str, name: str, number: int, context: ContextHere
) -> None:
    """Take one part of the right length; a Content-Digest that is sent is checked."""
    slot = await run_in_threadpool(
        part_slot, context, upload_id, name=name, number=number
    )
    await _receive(request, slot)


@router.post("/uploads/{upload_id}/complete")
async def complete_upload(upload_id: str, context: ContextHere) -> UploadOut:
    """Check every file; 422 names the one that is not what was declared."""
    return await to_thread.run_sync(_complete, context, upload_id, limiter=_checks())


def _complete(context: Context, upload_id: str) -> UploadOut:
    return _answer(context, complete(context, upload_id))


def _answer(context: Context, upload: UploadRow) -> UploadOut:
    missing = missing_parts(context, upload)
    return UploadOut(
        id=upload.id,
        state=upload.state,
        part_bytes=context.settings.part_bytes,
        files=[
            UploadFileOut(
                name=file.name,
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                parts=part_count(context, file.size_bytes),
                missing=missing[file.name],
            )
            for file in upload.files
        ],
    )


def _checks() -> CapacityLimiter:
    """Return what makes a further check wait without one of the routes' threads."""
    limiter = _CHECKS.get(None)
    if limiter is None:
        limiter = CapacityLimiter(MAX_CHECKS)
        _CHECKS.set(limiter)
    return limiter


async def _receive(request: Request, slot: PartSlot) -> None:
    """Write the body to disk as it comes, off the event loop and in large pieces."""
    writer = await run_in_threadpool(PartWriter.open, slot)
    try:
        pending = bytearray()
        async for chunk in request.stream():
            pending += chunk
            if len(pending) >= CHUNK_BYTES:
                await run_in_threadpool(writer.write, bytes(pending))
                pending.clear()
        await run_in_threadpool(writer.write, bytes(pending))
        expected = sha256_in(request.headers.get("content-digest"))
        await run_in_threadpool(writer.finish, expected)
    finally:
        writer.close()
