"""The operator's acts, on the machine that has the targets key.

Each starts from what the pinned root vouches for now, builds the next version here and
hands it in signed. Where several must sign, it is written to a file instead.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.canonical import JsonObject
from model_zoo.client.lost_versions import lost_versions, skip_lost
from model_zoo.errors import ConflictError, InvalidSpecError, MalformedDocumentError
from model_zoo.http.responses import BoundKey, escaped
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName, check_name
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import delegate, next_targets, next_withdrawn, withdraw
from model_zoo.tuf.roles import (
    ROOT,
    TARGETS,
    TRUSTED_KEYS,
    WITHDRAWN,
    checked,
    our_key,
    parse,
    sign,
    to_bytes,
)
from model_zoo.tuf.trusted_keys import TrustedKeys, list_trusted_keys
from model_zoo.tuf.updater import Anchor
from model_zoo.tuf.view import TrustedZoo

ROLES_PATH = "/trust/roles"


@dataclass(slots=True)
class Step:
    """The next targets as they are being built, with what must change beside them.

    Attributes:
        targets: the version to come; edit it in place.
        zoo: what is current, verified.
        now: when the step is made.
        roles: role name -> metadata that this step also changes, to be signed too.
        signed: role name -> file that others have signed already.
        files: path -> bytes of small targets that are new.
    """

    targets: Targets
    zoo: TrustedZoo
    now: datetime
    roles: dict[str, Metadata[Targets]] = field(default_factory=dict)
    signed: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def change_targets(
    transport: Transport,
    *,
    anchor: Anchor,
    keys: Sequence[SigningKey],
    edit: Callable[[Step], None],
) -> dict[str, int]:
    """Build, sign and hand in the next top-level targets; return role -> version.

    Versions that the zoo served and lost are skipped.

    Raises:
        ConflictError: somebody else was faster; do it again.
        VerificationError: what is current cannot be believed, or the zoo refused.
    """
    with anchor.refreshed(transport.server) as zoo:
        current = zoo.cached_targets()
        following = next_targets(current, now=anchor.now())
        step = Step(following.signed, zoo, anchor.now())
        edit(step)
    made = {TARGETS: following, **step.roles}

    def send() -> dict[str, int]:
        files = _signed(made, keys)
        return submit_roles(transport, files | step.signed, files=step.files)

    try:
        return send()
    except ConflictError:
        versions = {name: it.signed.version for name, it in made.items()}
        skip_lost(made, lost_versions(transport))
        if versions == {name: it.signed.version for name, it in made.items()}:
            raise
        return send()


def _signed(
    made: Mapping[str, Metadata[Targets]], keys: Sequence[SigningKey]
) -> dict[str, bytes]:
    for metadata in made.values():
        metadata.signatures.clear()
        sign(metadata, *keys)
    return {name: to_bytes(metadata) for name, metadata in made.items()}


def submit_roles(
    transport: Transport,
    roles: Mapping[str, bytes],
    *,
    files: Mapping[str, bytes] | None = None,
) -> dict[str, int]:
    """Send signed role files to the zoo; return role -> version.

    Raises:
        ZooError: as the zoo refused.
    """
    body: JsonObject = {"roles": {name: json.loads(it) for name, it in roles.items()}}
    if files:
        body["files"] = {path: json.loads(data) for path, data in files.items()}
    answer = transport.send("POST", ROLES_PATH, body) or {}
    versions = answer.get("versions")
    if not isinstance(versions, dict):
        msg = "the zoo did not say which versions are current"
        raise MalformedDocumentError(msg)
    return versions


def delegate_to(
    publisher: str, keys: Role, *, re_signed: Mapping[str, bytes] | None = None
) -> Callable[[Step], None]:
    """Return the edit that gives a name its keys, or other keys.

    Args:
        publisher: the name.
        keys: whose signatures count, and how many of them must be there.
        re_signed: role name -> file, signed with the new keys: needed where the name
            has releases, or no client could verify them from then on.
    """

    def edit(step: Step) -> None:
        delegate(step.targets, publisher, keys)
        step.signed |= dict(re_signed or {})

    return edit


def withdraw_releases(reasons: Mapping[ReleaseName, str]) -> Callable[[Step], None]:
    """Return the edit that hides releases from every TUF client, for good."""

    def edit(step: Step) -> None:
        root = step.zoo.root
        role = root.roles[TARGETS]
        keys = Role(
            keys=tuple(our_key(root.keys[keyid]) for keyid in role.keyids),
            threshold=role.threshold,
        )
        current = step.zoo.cached_withdrawn()
        withdraw(step.targets, list(reasons), keys=keys)
        step.roles[WITHDRAWN] = next_withdrawn(current, reasons, now=step.now)

    return edit


def edit_trusted_keys(
    *,
    add: Mapping[str, Sequence[PublicKey]],
    remove: Mapping[str, Sequence[PublicKey]] | None = None,
) -> Callable[[Step], None]:
    """Return the edit that lists or strikes out builders, witnesses or scanners.

    Args:
        add: ``builders``, ``witnesses`` or ``scanners`` -> keys.
        remove: the same, to strike out.

    Raises:
        InvalidSpecError: another kind of key.
    """
    kinds = {"builders", "witnesses", "scanners"}
    if set(add) - kinds or set(remove or {}) - kinds:
        msg = f"expected keys of {', '.join(sorted(kinds))}"
        raise InvalidSpecError(msg)

    def edit(step: Step) -> None:
        before = step.zoo.trusted_keys()
        changes: dict[str, Any] = {}
        for kind in kinds:
            gone = {key.to_pem() for key in (remove or {}).get(kind, ())}
            pems = [pem for pem in getattr(before, kind) if pem not in gone]
            pems += [key.to_pem() for key in add.get(kind, ())]
            changes[kind] = tuple(dict.fromkeys(pems))
        data = TrustedKeys(**{**before.model_dump(), **changes}).to_bytes()
        list_trusted_keys(step.targets, data)
        step.files[TRUSTED_KEYS] = data

    return edit


def parse_role(data: bytes) -> tuple[str, Metadata[Root] | Metadata[Targets]]:
    """Return what kind of offline role a file holds, root or targets, and its content.

    Raises:
        MalformedDocumentError: neither.
    """
    if isinstance(checked(data).signed, Root):
        return ROOT, parse(data, Root)
    return TARGETS, parse(data, Targets)


def register_key(
    transport: Transport,
    noun: Literal["publisher", "trainer"],
    name: str,
    *,
    public_key: PublicKey,
) -> BoundKey:
    """Bind ``name`` to ``public_key``; binding it again to the same key is fine.

    Raises:
        ConflictError: the name is bound to another key.
        MalformedDocumentError: the zoo says it bound another name or key.
    """
    path = f"/{noun}s/{check_name(name, what=noun)}"
    body = {"public_key": public_key.to_pem()}
    bound = BoundKey.read(transport.send("PUT", path, body))
    if (bound.name, bound.keyid) != (name, public_key.keyid):
        msg = (
            f"{noun} {name}: the zoo says that it bound another name or key: "
            f"{escaped(bound.name)}, {bound.keyid}"
        )
        raise MalformedDocumentError(msg)
    return bound
