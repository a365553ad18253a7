"""Sending files: declared with their digests, then sent in parts, lost ones again.

ADR 12.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from model_zoo.errors import MalformedDocumentError, TransportError
from model_zoo.files import open_plain, translate_os_errors
from model_zoo.http.responses import Upload
from model_zoo.http.transport import Transport
from model_zoo.statements.folder import FileProgress, manifest_of
from model_zoo.statements.manifest import FileEntry, Manifest

MAX_SENDS = 3
"""How often one part is sent before giving up."""


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

    Parts that were lost are sent again; the others are not. The server names the first
    that are missing, and the next when these have come.

    Raises:
        VerificationError: the server refused a file, and says which and why.
        TransportError: the parts did not arrive.
        LocalError: a file cannot be read.
    """
    declared = {"files": manifest.to_object()["files"]}
    upload = Upload.read(transport.send("POST", "/uploads", declared))
    times: Counter[tuple[str, int]] = Counter()
    while asked := list(_missing(upload, manifest)):
        for file, number in asked:
            times[file.name, number] += 1
            if times[file.name, number] > MAX_SENDS:
                msg = f"upload {upload.id}: {file.name} part {number} does not arrive"
                raise TransportError(msg)
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
    transport.send("POST", f"/uploads/{upload.id}/complete", {})
    return upload.id


def _missing(upload: Upload, manifest: Manifest) -> Iterator[tuple[FileEntry, int]]:
    for asked in upload.files:
        file = manifest.entry(asked.name)
        if file is None:
            msg = "the server asks for a file that was not declared"
            raise MalformedDocumentError(msg)
        for number in asked.missing:
            yield file, number


def _part(path: Path, *, number: int, part_bytes: int) -> bytes:
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        file.seek(number * part_bytes)
        return file.read(part_bytes)


def _content_digest(data: bytes) -> str:
    """Return the part's digest as RFC 9530 spells it."""
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
    return f"sha-256=:{digest}:"
