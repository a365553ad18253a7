"""Uploads: declared, sent in parts, checked whole, then published or made a draft.

ADR 12: each step can be repeated after a lost answer.
"""

import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from sqlalchemy.orm import Session

from model_zoo.errors import (
    ConflictError,
    DigestMismatchError,
    InvalidSpecError,
    LengthMismatchError,
    NotFoundError,
)
from model_zoo.formats.check import check_format
from model_zoo.names import check_id
from model_zoo.statements.manifest import FileEntry, Manifest
from service.context import Context
from service.database.queries import is_referred_to, unused_uploads, visible_sizes
from service.database.tables import UploadFileRow, UploadRow, new_id
from service.storage.blobs import read_chunks, translate_errors
from service.storage.part_writer import PartSlot

MISSING_SHOWN = 64
"""Numbers of missing parts that one answer has for a file; the rest comes later."""


def open_upload(context: Context, manifest: Manifest) -> UploadRow:
    """Declare the files that will come; return the new upload.

    Where as many uploads wait to be used as may, the longest idle is forgotten.

    Raises:
        InvalidSpecError: together they are more than the service takes.
    """
    limit = context.settings.max_upload_bytes
    if manifest.size_bytes > limit:
        msg = f"{manifest.size_bytes} bytes declared, at most {limit} are taken"
        raise InvalidSpecError(msg)
    upload = UploadRow(
        id=new_id(),
        state="open",
        active_at=context.now(),
        files=[UploadFileRow(**file.to_object()) for file in manifest.files],
    )
    with translate_errors("cannot open an upload"):
        _folder(context, upload.id).mkdir()
    with context.database.writing() as session:
        forgotten = _make_room(session, context)
        session.add(upload)
    for upload_id in forgotten:
        shutil.rmtree(_folder(context, upload_id), ignore_errors=True)
    return upload


def _make_room(session: Session, context: Context) -> list[str]:
    """Forget all unused uploads but the newest, so that there may be one more."""
    idle = list(
        session.scalars(unused_uploads().offset(context.settings.max_open_uploads - 1))
    )
    for upload in idle:
        session.delete(upload)
    return [upload.id for upload in idle]


def find_upload(context: Context, upload_id: str) -> UploadRow:
    """Return the upload.

    Raises:
        InvalidSpecError: ``upload_id`` is no id.
        NotFoundError: there is no such upload.
    """
    check_id(upload_id, what="upload")
    with context.database.reading() as session:
        return _get(session, upload_id)


def manifest_of(upload: UploadRow) -> Manifest:
    """Return what the upload declares, or once complete, what it holds."""
    return Manifest(
        files=tuple(
            FileEntry(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256)
            for file in upload.files
        )
    )


def require_file(upload: UploadRow, name: str) -> FileEntry:
    """Return the file of an upload that is called ``name``.

    Raises:
        NotFoundError: it has none.
    """
    found = manifest_of(upload).entry(name)
    if found is None:
        msg = f"no file {name[:80]!a}"
        raise NotFoundError(msg)
    return found


def discard_upload(context: Context, upload_id: str) -> None:
    """Forget an upload and what arrived of it.

    Raises:
        NotFoundError: there is no such upload.
        ConflictError: a release or a draft consists of it.
    """
    check_id(upload_id, what="upload")
    with context.database.writing() as session:
        upload = _get(session, upload_id)
        if is_referred_to(session, upload_id):
            msg = f"upload {upload_id} is part of a release or a draft"
            raise ConflictError(msg)
        session.delete(upload)
    shutil.rmtree(_folder(context, upload_id), ignore_errors=True)


def part_count(context: Context, size_bytes: int) -> int:
    """Return in how many parts a file of this size is sent."""
    return math.ceil(size_bytes / context.settings.part_bytes)


def missing_parts(context: Context, upload: UploadRow) -> dict[str, list[int]]:
    """Return for each file the first numbers of the parts that have yet to come.

    A declaration costs its sender nothing, so the work here grows with what arrived
    and not with what was declared: ``MISSING_SHOWN`` numbers a file at most. A file
    that a release or a draft shows already needs none: its bytes are here.
    """
    if upload.state == "complete":
        return {file.name: [] for file in upload.files}
    with context.database.reading() as session:
        shown = visible_sizes(session, {file.sha256 for file in upload.files})
    here = {
        file.name
        for file in upload.files
        if shown.get(file.sha256) == file.size_bytes
        and context.blobs.holds(file.sha256)
    }
    arrived = _arrived(context, upload.id)
    return {
        file.name: []
        if file.name in here
        else list(islice(_missing(context, file, arrived), MISSING_SHOWN))
        for file in upload.files
    }


def part_slot(context: Context, upload_id: str, *, name: str, number: int) -> PartSlot:
    """Return the place of a part that may still be sent; its upload is not idle.

    Raises:
        NotFoundError: no such upload, file or part.
        ConflictError: the upload is complete.
    """
    check_id(upload_id, what="upload")
    with context.database.writing() as session:
        upload = _get(session, upload_id)
        if upload.state != "open":
            msg = f"upload {upload_id} is complete: its files cannot change any more"
            raise ConflictError(msg)
        file = next((file for file in upload.files if file.name == name), None)
        if file is None:
            msg = f"upload {upload_id} declares no file {name[:80]!a}"
            raise NotFoundError(msg)
        if not 0 <= number < part_count(context, file.size_bytes):
            msg = f"{file.name} has no part {number}"
            raise NotFoundError(msg)
        upload.active_at = context.now()
    return _slot(context, file, number)


def complete(context: Context, upload_id: str) -> UploadRow:
    """Check every file and make the upload ready to be published.

    The bytes that are hashed are the bytes that are kept: each file is put together
    from its parts into one new file, which is hashed on the way, checked by content,
    and linked into the blob store.

    Raises:
        NotFoundError: there is no such upload.
        LengthMismatchError: parts are missing.
        DigestMismatchError: a file is not what was declared.
        UnsafeFormatError: a file is neither safetensors, ONNX nor JSON.
        LocalError: the disk refuses, or is full.
    """
    upload = find_upload(context, upload_id)
    if upload.state == "complete":
        return upload
    try:
        _take_all(context, upload)
    except (LengthMismatchError, NotFoundError):
        upload = find_upload(context, upload_id)
        if upload.state != "complete":
            raise
        return upload  # a second request, sent while the first was still at work
    # Blobs first, row second, parts last: a crash between them costs space, no file.
    with context.database.writing() as session:
        upload = _get(session, upload_id)
        upload.state, upload.active_at = "complete", context.now()
    shutil.rmtree(_folder(context, upload_id), ignore_errors=True)
    return upload


def _take_all(context: Context, upload: UploadRow) -> None:
    missing = missing_parts(context, upload)
    for file in upload.files:
        _take(context, file, missing[file.name])


def _take(context: Context, file: UploadFileRow, missing: list[int]) -> None:
    if missing:
        found = f"no part {', '.join(str(number) for number in missing[:8])}"
        raise LengthMismatchError.of(file.name, expected=file.size_bytes, found=found)
    if not all(slot.is_filled() for slot in _slots(context, file)):
        # Nothing was sent, since a release shows these bytes; they may be damaged now.
        context.blobs.require_intact(file.sha256)
        with context.blobs.local(file.sha256) as path:
            check_format(path, name=file.name)
        return
    with context.blobs.staged(_chunks(_slots(context, file))) as blob:
        if blob.size_bytes != file.size_bytes:
            raise LengthMismatchError.of(
                file.name, expected=file.size_bytes, found=str(blob.size_bytes)
            )
        if blob.sha256 != file.sha256:
            raise DigestMismatchError.of(
                file.name, expected=file.sha256, found=blob.sha256
            )
        check_format(blob.path, name=file.name)
        context.blobs.keep(blob)


def _chunks(slots: Iterable[PartSlot]) -> Iterator[bytes]:
    for slot in slots:
        try:
            yield from read_chunks(slot.path)
        except FileNotFoundError as error:
            msg = "the upload was deleted or completed meanwhile"
            raise NotFoundError(msg) from error


def _get(session: Session, upload_id: str) -> UploadRow:
    upload = session.get(UploadRow, upload_id)
    if upload is None:
        msg = f"no upload {upload_id}; one that lay idle makes room for newer ones"
        raise NotFoundError(msg)
    return upload


def _folder(context: Context, upload_id: str) -> Path:
    return context.uploads_folder / upload_id


def _arrived(context: Context, upload_id: str) -> dict[str, int]:
    """Return the names and lengths of the parts that arrived.

    Those on their way have names that begin with a dot.
    """
    try:
        with os.scandir(_folder(context, upload_id)) as entries:
            return {
                entry.name: entry.stat().st_size
                for entry in entries
                if not entry.name.startswith(".")
            }
    except FileNotFoundError:
        return {}  # deleted or completed meanwhile


def _missing(
    context: Context, file: UploadFileRow, arrived: Mapping[str, int]
) -> Iterator[int]:
    for number in range(part_count(context, file.size_bytes)):
        if arrived.get(_part_name(file, number)) != _part_size(context, file, number):
            yield number


def _slots(context: Context, file: UploadFileRow) -> Iterator[PartSlot]:
    count = part_count(context, file.size_bytes)
    return (_slot(context, file, number) for number in range(count))


def _slot(context: Context, file: UploadFileRow, number: int) -> PartSlot:
    return PartSlot(
        path=_folder(context, file.upload_id) / _part_name(file, number),
        file_name=file.name,
        number=number,
        size_bytes=_part_size(context, file, number),
    )


def _part_name(file: UploadFileRow, number: int) -> str:
    return f"{file.name}.{number}"


def _part_size(context: Context, file: UploadFileRow, number: int) -> int:
    part_bytes = context.settings.part_bytes
    return min(part_bytes, file.size_bytes - number * part_bytes)
