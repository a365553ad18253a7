"""The publisher's side of a zoo in process: roles built from what it serves, signed."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface

from model_zoo.digests import sha256_bytes
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.intoto import vouched_release
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.tuf.online import make_server_folder, write_first
from model_zoo.tuf.publisher_roles import (
    PublisherRoles,
    edited,
    release_targets,
    sign_roles,
    target_file,
)
from model_zoo.tuf.revocations import YANK_NAME, YankNotice
from model_zoo.tuf.roles import (
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    delegation_of,
    parse,
    sign,
    target_path,
)

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)
Get = Callable[[str], httpx.Response]
Files = dict[str, dict[str, Any]]
ROOT_KEYS = tuple(SigningKey.generate() for _ in range(3))
TARGETS_KEY = SigningKey.generate()


def file(get: Get, name: str) -> bytes:
    """Return a file of metadata as it is served."""
    response = get(f"/tuf/metadata/{name}")
    assert response.status_code == 200, response.text
    return response.content


def current(get: Get, role: str, kind: type[T]) -> Metadata[T]:
    """Return the version of a role that timestamp and snapshot name."""
    stamp = parse(file(get, f"{TIMESTAMP}.json"), Timestamp)
    number = stamp.signed.snapshot_meta.version
    snapshot = parse(file(get, f"{number}.{SNAPSHOT}.json"), Snapshot)
    if role != SNAPSHOT:
        number = snapshot.signed.meta[f"{role}.json"].version
    return parse(file(get, f"{number}.{role}.json"), kind)


def publisher_roles(
    get: Get, publisher: str, *, targets: Targets | None = None
) -> PublisherRoles:
    """Return the publisher's current roles, to build the next version from.

    ``targets``, if given, are those that will delegate.
    """
    targets = targets or current(get, TARGETS, Targets).signed
    delegation = delegation_of(targets, publisher)
    assert delegation is not None
    assert targets.delegations is not None
    known = f"{publisher}.json" in current(get, SNAPSHOT, Snapshot).signed.meta
    return PublisherRoles(
        delegation=delegation,
        keys=targets.delegations.keys,
        role=current(get, publisher, Targets) if known else None,
        load_bin=lambda name: current(get, name, Targets),
    )


def as_json(files: Mapping[str, bytes]) -> Files:
    """Return signed files as a request carries them."""
    return {name: json.loads(data) for name, data in files.items()}


def release_targets_of(
    envelope: Mapping[str, Any], provenance: Mapping[str, Any] | None = None
) -> dict[str, TargetFile]:
    """Return what a role must say of the release that ``envelope`` states."""
    signed = Envelope.from_object(dict(envelope))
    made = None if provenance is None else Envelope.from_object(dict(provenance))
    statement = vouched_release(signed)
    bundle = bundle_bytes(envelope=signed, provenance=made)
    return release_targets(statement.release, statement.manifest, bundle=bundle)


def next_roles(
    get: Get,
    publisher: str,
    add: Mapping[str, TargetFile],
    *,
    remove: Iterable[str] = (),
    key: SigningKey,
    now: datetime,
) -> Files:
    """Return the next version of the publisher's roles, as a request carries them."""
    roles = publisher_roles(get, publisher)
    return as_json(sign_roles(edited(roles, add=add, remove=remove, now=now), key))


def notice_target(notice: YankNotice) -> dict[str, TargetFile]:
    """Return what a role must say of a notice."""
    path = target_path(ReleaseName.parse(notice.release), YANK_NAME)
    data = notice.to_bytes()
    return {path: target_file(path, size_bytes=len(data), sha256=sha256_bytes(data))}


def make_real_root(folder: Path, *, now: datetime) -> Path:
    """Make what a ceremony hands to the server; root and targets keys are elsewhere."""
    root, targets = make_server_folder(
        folder,
        root_keys=Role(keys=tuple(key.public for key in ROOT_KEYS), threshold=2),
        targets_keys=Role(keys=(TARGETS_KEY.public,)),
        now=now,
    )
    sign(root, *ROOT_KEYS[:2])
    sign(targets, TARGETS_KEY)
    write_first(folder, root, targets)
    return folder


class InProcess(FetcherInterface):
    """Brings a TUF client what a zoo in this process serves."""

    def __init__(self, get: Get) -> None:
        self._get = get

    def _fetch(self, url: str) -> Iterator[bytes]:
        response = self._get(unquote(urlsplit(url).path))
        if response.status_code != HTTPStatus.OK:
            raise DownloadHTTPError(url, response.status_code)
        return iter([response.content])
