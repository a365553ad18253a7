"""The operator of a zoo in process, and a stranger who looks at it with TUF's eyes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from tuf.api.metadata import Targets

from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import delegate, next_targets
from model_zoo.tuf.publisher_roles import PublisherRoles, sign_roles
from model_zoo.tuf.roles import TARGETS
from model_zoo.tuf.updater import open_zoo
from model_zoo.tuf.view import TrustedZoo, translate_errors
from tests.service.roles import (
    TARGETS_KEY,
    Files,
    InProcess,
    as_json,
    current,
    publisher_roles,
)
from tests.service.zoo import Zoo

URL = "http://127.0.0.1:8000/"


def submit(
    zoo: Zoo, roles: Mapping[str, bytes], files: Files | None = None
) -> httpx.Response:
    """Hand in signed roles."""
    return zoo.post("/trust/roles", {"roles": as_json(roles), "files": files or {}})


def submit_targets(
    zoo: Zoo,
    edit: Callable[[Targets], None] = lambda _: None,
    *,
    others: Mapping[str, bytes] | None = None,
    files: Files | None = None,
    key: SigningKey | None = None,
) -> httpx.Response:
    """Hand in the next top-level targets after ``edit``, signed with their key."""
    following = next_targets(current(zoo.get, TARGETS, Targets), now=zoo.clock())
    edit(following.signed)
    held: SigningKey | None = zoo.app.state.context.keys.targets_key
    signed = sign_roles({TARGETS: following}, key or held or TARGETS_KEY)
    return submit(zoo, {**signed, **(others or {})}, files)


def rekey(zoo: Zoo, publisher: str, *keys: SigningKey, threshold: int = 1) -> None:
    """Delegate to other keys, for a publisher who has signed nothing yet."""
    public = Role(keys=tuple(key.public for key in keys), threshold=threshold)
    response = submit_targets(zoo, lambda targets: delegate(targets, publisher, public))
    assert response.status_code == 200, response.text


def pending_roles(zoo: Zoo, publisher: str, *keys: SigningKey) -> PublisherRoles:
    """Return a publisher's roles as they will be once ``keys`` are delegated to."""
    following = next_targets(current(zoo.get, TARGETS, Targets), now=zoo.clock())
    public = Role(keys=tuple(key.public for key in keys))
    delegate(following.signed, publisher, public)
    return publisher_roles(zoo.get, publisher, targets=following.signed)


def stranger(zoo: Zoo, folder: Path) -> TrustedZoo:
    """Return what a client with its cache in ``folder`` believes after a refresh."""
    folder.mkdir(exist_ok=True, parents=True)
    root = zoo.app.state.context.keys.root
    fetcher = InProcess(zoo.get)
    view = open_zoo(fetcher, URL, root, folder=folder, now=zoo.clock())
    with translate_errors():
        view.updater.refresh()
    return view
