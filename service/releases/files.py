"""Which stored file answers which question, and which none may answer any more.

ADR 27: whose withdrawal reaches which file.
"""

import re

from model_zoo.errors import NotFoundError
from model_zoo.names import ReleaseName
from model_zoo.statements.manifest import FileEntry
from service.context import Context
from service.database.queries import visible_size
from service.releases.catalog import find_release, require_release
from service.releases.withdrawals import (
    require_not_itself_withdrawn,
    require_not_withdrawn,
    require_not_withdrawn_file,
)
from service.repository.served import small_target
from service.storage.blobs import require_digest
from service.uploads.sessions import manifest_of, require_file

_TARGET = re.compile(r"(?:(.+)/)?([0-9a-f]{64})\.([^/]+)", re.ASCII)
"""A target's path with its digest before the name: TUF's consistent snapshots."""
_RELEASE_SEGMENTS = 3


def release_file(context: Context, name: ReleaseName, file: str) -> FileEntry:
    """Return a file of a release.

    Raises:
        NotFoundError: there is no such release, or no such file in it.
        YankedError: it was withdrawn.
    """
    require_not_withdrawn(context, name)
    return require_file(require_release(context, name).upload, file)


def file_of_digest(context: Context, sha256: str) -> FileEntry:
    """Return the file of that digest, if a release or a draft shows it.

    Raises:
        NotFoundError: none does, or it is no digest.
        YankedError: it was withdrawn.
    """
    require_digest(sha256)
    with context.database.reading() as session:
        require_not_withdrawn_file(session, sha256)
        size_bytes = visible_size(session, sha256)
    if size_bytes is None:
        msg = f"no blob {sha256}"
        raise NotFoundError(msg)
    return FileEntry(name=sha256, size_bytes=size_bytes, sha256=sha256)


def find_target(context: Context, path: str) -> bytes | FileEntry:
    """Return a TUF target: the bytes of a small one, or which stored file it is.

    Raises:
        NotFoundError: there is none of that path and digest.
        YankedError: its release was withdrawn.
    """
    match = _TARGET.fullmatch(path)
    if match is None:
        msg = f"no target {path[:80]!a}"
        raise NotFoundError(msg)
    folder, sha256, file = match[1] or "", match[2], match[3]
    data = small_target(context, f"{folder}/{file}", sha256)
    if data is not None:
        return data
    names = folder.split("/")
    if len(names) == _RELEASE_SEGMENTS:
        require_not_itself_withdrawn(context, ReleaseName(*names))
        release = find_release(context, ReleaseName(*names))
        found = None if release is None else manifest_of(release.upload).entry(file)
        if found is not None and found.sha256 == sha256:
            return found
    msg = f"no target {folder[:80]!a}"
    raise NotFoundError(msg)
