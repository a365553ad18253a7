"""The second signature: checked as if nobody had signed before, then added.

A co-signer builds the roles himself, from what his pinned root vouches for now and from
what the publisher says he changes. What waits must be that and nothing more.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.metadata import Metadata, Targets

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.client.publish import Signer
from model_zoo.client.pull import download_files
from model_zoo.clock import CLOCK_SKEW
from model_zoo.errors import (
    ConflictError,
    ExpiredMetadataError,
    InvalidSpecError,
    MalformedDocumentError,
    NotPermittedError,
    WrongReleaseError,
)
from model_zoo.http.responses import (
    PendingRelease,
    PendingRoles,
    PendingYank,
    Signed,
    WaitingChange,
)
from model_zoo.http.transport import Transport
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.intoto import vouched_release
from model_zoo.statements.manifest import Manifest
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.tuf.publisher_roles import (
    PublisherRoles,
    delegated_to,
    edited,
    release_targets,
    renewed,
    sign_roles,
)
from model_zoo.tuf.releases import read_release
from model_zoo.tuf.revocations import YANK_NAME, YankNotice, yank_edit
from model_zoo.tuf.roles import PUBLISHER_LIFETIME, our_key, parse, target_path
from model_zoo.tuf.view import TrustedZoo

Roles = Mapping[str, Metadata[Targets]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignedChange:
    """What was signed, in words, and whether it still waits for others to sign."""

    name: str
    change: str
    pending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A change as the co-signer builds it.

    ``change`` says it in words; ``manifest`` lists files that are to be looked at.
    """

    name: str
    change: str
    roles: Roles
    manifest: Manifest | None = None

    @property
    def publisher(self) -> str:
        """Whose change it is."""
        return self.name.partition("/")[0]


def cosign(transport: Transport, publisher: str, signer: Signer) -> CosignedChange:
    """Sign the change of ``publisher`` that waits; return what it is and how it stands.

    The roles to be signed are built here, and must be those that wait, but for an
    expiry within bounds; a release's files are downloaded and hashed.

    Raises:
        NotFoundError: none waits.
        NotPermittedError: the name is not delegated to the signer's key.
        VerificationError: what waits is more, or other, than it says.
    """
    path = f"/publishers/{publisher}/pending"
    waiting = WaitingChange.read(transport.get(path))
    held = {
        name: parse(canonical_json(it), Targets)
        for name, it in PendingRoles.read(waiting.request).roles.items()
    }
    with signer.anchor.refreshed(transport.server) as zoo:
        now, current = signer.anchor.now(), zoo.publisher(publisher)
        if signer.key.public.keyid not in current.delegation.keyids:
            msg = f"{publisher} is not delegated to this key: its signature is no use"
            raise NotPermittedError(msg)
        expected = EXPECTED[waiting.kind](zoo, waiting, current, now)
    if expected.name != waiting.name:
        raise WrongReleaseError.of(expected=waiting.name, found=expected.name)
    if expected.publisher != publisher:
        raise WrongReleaseError.of(expected=publisher, found=expected.name)
    _require_alike(held, expected.roles, now=now)
    if expected.manifest is not None:
        _look_at(transport, f"{path}/files", expected.manifest)
    signed: JsonObject = {
        name: json.loads(data) for name, data in sign_roles(held, signer.key).items()
    }
    answer = transport.send("POST", f"{path}/signatures", {"roles": signed})
    return CosignedChange(
        name=waiting.name, change=expected.change, pending=Signed.read(answer).pending
    )


def cosign_re_signed(
    transport: Transport, roles: Roles, signer: Signer
) -> dict[str, bytes]:
    """Return the files of a publisher's re_signed roles with one more signature.

    They go to the operator, who will give the name other keys. They must be the
    current ones, but for version, an expiry within bounds, and the keys of their bins.

    Raises:
        NotFoundError: there is no such publisher.
        VerificationError: they hold more, or other, than the current ones.
    """
    publisher = min(roles).partition("~")[0]
    with signer.anchor.refreshed(transport.server) as zoo:
        now = signer.anchor.now()
        current = _delegated_as_in(roles, publisher, zoo.publisher(publisher))
        expected = renewed(current, now=now)
    _require_alike(roles, expected, now=now)
    return sign_roles(roles, signer.key)


def _release(
    zoo: TrustedZoo, waiting: WaitingChange, current: PublisherRoles, now: datetime
) -> Expected:
    """Return the roles with one release more: what its publisher's statement lists.

    Raises:
        ConflictError: the name is taken, or was withdrawn: there is no un-yank.
    """
    envelope, provenance = PendingRelease.read(waiting.request).envelopes()
    statement = vouched_release(envelope)
    name = statement.release
    for file in (BUNDLE_NAME, YANK_NAME):
        if zoo.target(target_path(name, file)) is not None:
            msg = f"{name} is published or withdrawn already"
            raise ConflictError(msg)
    bundle = bundle_bytes(envelope=envelope, provenance=provenance)
    add = release_targets(name, statement.manifest, bundle=bundle)
    return Expected(
        name=str(name),
        change=f"the release {name}",
        roles=edited(current, add=add, now=now),
        manifest=statement.manifest,
    )


def _yank(
    zoo: TrustedZoo, waiting: WaitingChange, current: PublisherRoles, now: datetime
) -> Expected:
    """Return the roles without the release that the notice names, and with the notice.

    Raises:
        NotFoundError: the zoo vouches for no such release.
    """
    request = PendingYank.read(waiting.request)
    notice = YankNotice.read(canonical_json(request.notice))
    name = _release_name(notice.release)
    release = read_release(zoo, name)
    manifest = release.statement.manifest
    files = {file.name: file.sha256 for file in manifest.tensors()}
    if (notice.withdrawn_by, notice.files) != ("publisher", files):
        msg = f"the notice is not its publisher's of the tensors of {name}"
        raise MalformedDocumentError(msg)
    edit = yank_edit(name, notice, manifest=manifest, bundle=release.bundle)
    return Expected(
        name=str(name),
        change=f"the withdrawal of {name}: {notice.reason}",
        roles=edited(current, add=edit.add, remove=edit.remove, now=now),
    )


def _renewal(
    _: TrustedZoo, waiting: WaitingChange, current: PublisherRoles, now: datetime
) -> Expected:
    """Return the roles as they are, one version later."""
    del waiting
    publisher = current.delegation.name
    return Expected(
        name=publisher,
        change=f"the renewal of {publisher}",
        roles=renewed(current, now=now),
    )


EXPECTED: Mapping[
    str, Callable[[TrustedZoo, WaitingChange, PublisherRoles, datetime], Expected]
] = {"release": _release, "yank": _yank, "renewal": _renewal}
"""By kind of change: what must wait, if it is what it says."""


def _delegated_as_in(
    roles: Roles, publisher: str, current: PublisherRoles
) -> PublisherRoles:
    """Return ``current`` under the keys that the new role gives to its bins, if any."""
    delegations = (
        None if publisher not in roles else roles[publisher].signed.delegations
    )
    bins = None if delegations is None else delegations.succinct_roles
    if delegations is None or bins is None:
        return current
    if not set(bins.keyids) <= set(delegations.keys):
        msg = f"{publisher}: a key of its bins is not listed"
        raise MalformedDocumentError(msg)
    keys = [our_key(delegations.keys[keyid]) for keyid in bins.keyids]
    return delegated_to(current, *keys, threshold=bins.threshold)


def _require_alike(held: Roles, expected: Roles, *, now: datetime) -> None:
    """Accept roles that are as expected, whatever their expiry is within bounds."""
    if set(held) != set(expected):
        msg = f"expected the roles {sorted(expected)} to change, found {sorted(held)}"
        raise MalformedDocumentError(msg)
    for name, role in held.items():
        _require_expiry(name, role.signed.expires, now=now)
        if _all_but_expiry(role) != _all_but_expiry(expected[name]):
            msg = f"{name}: this is not the current version with this one change"
            raise MalformedDocumentError(msg)


def _require_expiry(name: str, expires: datetime, *, now: datetime) -> None:
    """Accept an expiry that honest software chose not long ago.

    With a later one a yank could be hidden from clients for longer; with an early one
    every release of the publisher would soon be refused.
    """
    earliest = now + PUBLISHER_LIFETIME / 2
    latest = now + PUBLISHER_LIFETIME + CLOCK_SKEW
    if not earliest <= expires <= latest:
        msg = (
            f"{name}: would expire at {expires:%Y-%m-%d}, expected between "
            f"{earliest:%Y-%m-%d} and {latest:%Y-%m-%d}"
        )
        raise ExpiredMetadataError(msg)


def _all_but_expiry(role: Metadata[Targets]) -> bytes:
    return canonical_json({**role.signed.to_dict(), "expires": ""})


def _look_at(transport: Transport, path: str, manifest: Manifest) -> None:
    with TemporaryDirectory(prefix="zoo-cosign-") as folder:
        download_files(transport, path, manifest=manifest, to=Path(folder))


def _release_name(text: str) -> ReleaseName:
    try:
        return ReleaseName.parse(text)
    except InvalidSpecError as error:
        msg = f"the notice names no release: {error}"
        raise MalformedDocumentError(msg) from error
