"""Sending files: declared with their digests, then sent in parts, lost ones again."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

from model_zoo.answers import Upload
from model_zoo.errors import LocalError, MalformedDocumentError, TransportError
from model_zoo.folders import FileProgress, manifest_of
from model_zoo.http.transport import Transport
from model_zoo.manifest import FileEntry, Manifest

MAX_ROUNDS = 3
"""How often the missing parts are asked for and sent before giving up."""


def upload_folder(
    transport: Transport, folder: Path, *, progress: FileProgress | None = None
) -> str:
    """Upload the files in ``folder`` and return the id of the complete upload.

    Raises:
        InvalidSpecError: the folder holds what no release may.
        VerificationError: the server refused a file, and says which and why.
        TransportError: the parts did not arrive.
        LocalError: a file cannot be read.
    """
    return upload_files(transport, manifest_of(folder), folder, progress=progress)


def upload_files(
    transport: Transport,
    manifest: Manifest,
    folder: Path,
    *,
    progress: FileProgress | None = None,
) -> str:
    """Upload the files of ``manifest`` from ``folder``; return the upload's id.

    Parts that were lost are sent again; the others are not.

    Raises:
        VerificationError: the server refused a file, and says which and why.
        TransportError: the parts did not arrive.
        LocalError: a file cannot be read.
    """
    declared = {"files": manifest.to_object()["files"]}
    upload = Upload.read(transport.send("POST", "/uploads", declared))
    for _ in range(MAX_ROUNDS):
        for file, number in _missing(upload, manifest):
            path = folder / file.name
            data = _part(path, number=number, part_bytes=upload.part_bytes)
            transport.put_bytes(
                f"/uploads/{upload.id}/files/{file.name}/parts/{number}",
                data,
                headers={"Content-Digest": _content_digest(data)},
            )
            if progress is not None:
                progress(file, len(data))
        upload = Upload.read(transport.get(f"/uploads/{upload.id}"))
        if not any(file.missing for file in upload.files):
            transport.send("POST", f"/uploads/{upload.id}/complete", {})
            return upload.id
    msg = f"upload {upload.id}: parts are still missing after {MAX_ROUNDS} rounds"
    raise TransportError(msg)


def _missing(upload: Upload, manifest: Manifest) -> Iterator[tuple[FileEntry, int]]:
    for asked in upload.files:
        file = manifest.entry(asked.name)
        if file is None:
            msg = "the server asks for a file that was not declared"
            raise MalformedDocumentError(msg)
        for number in asked.missing:
            yield file, number


def _part(path: Path, *, number: int, part_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(number * part_bytes)
            return file.read(part_bytes)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error


def _content_digest(data: bytes) -> str:
    """Return the part's digest as RFC 9530 spells it."""
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
    return f"sha-256=:{digest}:"
