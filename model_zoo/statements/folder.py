"""A release's files in a folder: plain files side by side, and nothing else."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from model_zoo.digests import sha256_stream
from model_zoo.errors import ConflictError, InvalidSpecError
from model_zoo.files import open_plain, translate_os_errors
from model_zoo.names import check_name
from model_zoo.statements.manifest import MAX_FILES, FileEntry, Manifest

BUNDLE_NAME = "release.json"
"""The envelopes beside a pulled release's files."""
EVIDENCE_NAME = "trust.json"
"""What a pinned root vouched for, so that it can be checked without a network."""
RESERVED_NAMES = frozenset({BUNDLE_NAME, EVIDENCE_NAME, "yanked.json"})
"""No release may hold a file of these names."""

FileProgress = Callable[[FileEntry, int], None]
"""Told a file and how many more of its bytes have been moved."""


def entries(folder: Path) -> dict[str, os.stat_result]:
    """Return name -> status (of a link itself) of everything in ``folder``.

    Raises:
        InvalidSpecError: it is no folder or holds more than any release does.
        LocalError: it cannot be read.
    """
    statuses = {}
    with translate_os_errors(f"cannot read {folder}"), _scanned(folder) as found:
        for item in found:
            statuses[item.name] = item.stat(follow_symlinks=False)
            if len(statuses) > MAX_FILES + len(RESERVED_NAMES):
                msg = f"{folder}: more than {MAX_FILES} files"
                raise InvalidSpecError(msg)
    return statuses


def _scanned(folder: Path) -> AbstractContextManager[Iterator["os.DirEntry[str]"]]:
    """Return what ``os.scandir`` does; a folder that is none is the user's mistake."""
    try:
        return os.scandir(folder)
    except FileNotFoundError as error:
        msg = f"{folder}: there is no such folder"
        raise InvalidSpecError(msg) from error
    except NotADirectoryError as error:
        msg = f"{folder}: expected a folder of files"
        raise InvalidSpecError(msg) from error


def require_unused(path: Path) -> None:
    """Accept a path at which nothing lies that would be overwritten.

    Raises:
        ConflictError: a file, or a folder that holds something.
        LocalError: it cannot be looked at.
    """
    with translate_os_errors(f"cannot read {path}"):
        is_used = any(path.iterdir()) if path.is_dir() else path.exists()
    if is_used:
        msg = f"{path}: not overwritten: name another one, or remove it first"
        raise ConflictError(msg)


def is_plain_file(status: os.stat_result) -> bool:
    """Whether it is a regular file: no link, folder, pipe or device."""
    return stat.S_ISREG(status.st_mode)


def manifest_of(folder: Path) -> Manifest:
    """Return the manifest of the files in ``folder``, hashing each.

    Raises:
        InvalidSpecError: no file, a link, a folder, or a name no release may hold.
        LocalError: a file cannot be read.
    """
    files = []
    for name, status in sorted(entries(folder).items()):
        if name in RESERVED_NAMES:
            msg = f"{name}: this name is kept for the signatures of a pulled release"
            raise InvalidSpecError(msg)
        check_name(name, what="file")
        if not is_plain_file(status):
            msg = f"{folder / name}: not a plain file; a release holds no links"
            raise InvalidSpecError(msg)
        files.append(_entry(folder / name, size_bytes=status.st_size))
    try:
        return Manifest(files=tuple(files))
    except ValueError as error:
        msg = f"{folder}: no release can be made of it: expected 1 to {MAX_FILES} files"
        raise InvalidSpecError(msg) from error


def _entry(path: Path, *, size_bytes: int) -> FileEntry:
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        sha256 = sha256_stream(file)
    return FileEntry(name=path.name, size_bytes=size_bytes, sha256=sha256)
