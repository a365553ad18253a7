"""Pulling: ask, verify the statement, download what it names, appear all at once."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from model_zoo.errors import ConflictError, InvalidSpecError, VerificationError
from model_zoo.files import translate_os_errors
from model_zoo.formats.check import check_format
from model_zoo.formats.safetensors import state_dict
from model_zoo.http.downloads import Downloader
from model_zoo.http.partials import PARTIAL_SUFFIX
from model_zoo.http.responses import PublishedRelease
from model_zoo.http.transport import API, Transport
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import FileProgress
from model_zoo.statements.intoto import ReleaseStatement
from model_zoo.statements.manifest import WEIGHTS_SUFFIX, Manifest
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import write_bundle
from model_zoo.statements.verification import (
    VerifiedRelease,
    read_verified,
    verified,
    verify_directory,
    verify_release,
)


def release_path(name: ReleaseName) -> str:
    """Return where the service keeps what belongs to ``name``."""
    return f"/models/{name.publisher}/{name.model}/releases/{name.version}"


def fetch_release(transport: Transport, name: ReleaseName) -> PublishedRelease:
    """Return what the service says of ``name``; nothing of it is verified yet.

    Raises:
        WrongReleaseError: it answers with another release.
    """
    answer = PublishedRelease.read(transport.get(release_path(name)))
    return answer.require_name(name)


def look_up(
    transport: Transport, name: ReleaseName, *, policy: Policy
) -> tuple[ReleaseStatement, Envelope, Envelope | None]:
    """Return a release's statement, verified, its envelope and that of provenance.

    Raises:
        InvalidSpecError: the policy demands what keys alone cannot honour.
        VerificationError: it cannot be believed.
    """
    policy.require_honoured(rooted=False)
    envelope, provenance = fetch_release(transport, name).envelopes()
    statement = verify_release(
        envelope, name=name, policy=policy, provenance=provenance
    )
    return statement, envelope, provenance


def pull(
    transport: Transport,
    name: ReleaseName,
    *,
    policy: Policy,
    to: Path,
    progress: FileProgress | None = None,
) -> VerifiedRelease:
    """Make ``to`` the verified folder of a release, or leave everything as it was.

    A folder that holds this very release already is verified and left alone.

    Raises:
        ConflictError: ``to`` holds something else.
        VerificationError: what came cannot be believed; nothing was written.
        TransportError: it did not arrive; nothing was written.
        LocalError: it cannot be written.
    """
    statement, envelope, provenance = look_up(transport, name, policy=policy)
    if is_occupied(to):
        return _already_there(to, statement, policy=policy)
    with staging_beside(to) as staging:
        download_files(
            transport,
            f"{release_path(name)}/files",
            manifest=statement.manifest,
            to=staging,
            progress=progress,
        )
        write_bundle(staging, envelope=envelope, provenance=provenance)
    return verified(to, statement, envelope, policy=policy)


def download_files(
    transport: Transport,
    path: str,
    *,
    manifest: Manifest,
    to: Path,
    partials: Path | None = None,
    progress: FileProgress | None = None,
) -> None:
    """Write each file of ``manifest``, found below ``path``, into the folder ``to``.

    Raises:
        VerificationError: a file is another than listed, or can run code.
        TransportError: it did not arrive.
        LocalError: it cannot be written.
    """
    downloader = Downloader(transport.http, partials)
    for file in manifest.files:
        downloader.fetch(
            f"{API}{path}/{file.name}",
            to / file.name,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            progress=None if progress is None else partial(progress, file),
        )
        check_format(to / file.name, name=file.name)


@contextlib.contextmanager
def staging_beside(to: Path) -> Iterator[Path]:
    """Yield a new folder that becomes ``to`` at the end, or is gone after a failure.

    Raises:
        ConflictError: somebody else made ``to`` meanwhile.
        LocalError: the folder cannot be made.
    """
    staging = to.with_name(f".{to.name}.{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    with translate_os_errors(f"cannot make folder {to}"):
        to.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
    try:
        yield staging
        _appear(staging, to)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _appear(staging: Path, to: Path) -> None:
    with translate_os_errors(f"cannot make folder {to}"):
        try:
            staging.rename(to)
        except OSError as error:
            if is_occupied(to):
                msg = f"{to}: somebody else wrote there meanwhile"
                raise ConflictError(msg) from error
            raise


def is_occupied(path: Path) -> bool:
    """Whether anything but an empty folder stands there, a dangling link included."""
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())
    return os.path.lexists(path)


def _already_there(
    folder: Path,
    statement: ReleaseStatement,
    *,
    policy: Policy,
) -> VerifiedRelease:
    """Return the release that ``folder`` holds, if it is the one of ``statement``."""
    try:
        found = verify_directory(folder, name=statement.release, policy=policy)
    except (InvalidSpecError, VerificationError) as error:
        msg = f"{folder} holds something else than {statement.release}: {error}"
        raise ConflictError(msg) from error
    if found.statement != statement:
        msg = f"{folder} holds other files that were signed as {statement.release}"
        raise ConflictError(msg)
    return found


def load(release: VerifiedRelease) -> dict[str, Any]:
    """Return the tensors of the one weights file in ``release``.

    The file is read once, hashed, and parsed from memory: what changes on the disk
    after it was verified is noticed, and what was hashed is what is loaded.

    Raises:
        DigestMismatchError: the file changed since it was verified.
        InvalidSpecError: the release holds no weights file or more than one.
        LocalError: it cannot be read, or the trainer extra is not installed.
    """
    weights = release.statement.manifest.weights()
    files = [file for file in weights if file.name.endswith(WEIGHTS_SUFFIX)]
    if len(files) != 1:
        count = f"{len(files)} weights files ({WEIGHTS_SUFFIX}), not one"
        msg = f"{release.statement.release} holds {count}"
        raise InvalidSpecError(msg)
    return state_dict(read_verified(files[0], release.path))
