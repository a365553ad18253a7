"""Publishing: the key stays here, and nobody signs a digest unseen."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.metadata import Metadata, Targets

from model_zoo.canonical import JsonObject
from model_zoo.client.lost_versions import above_lost, lost_versions
from model_zoo.client.operate import ROLES_PATH
from model_zoo.client.pull import download_files, release_path
from model_zoo.errors import (
    ConflictError,
    MalformedDocumentError,
    ProvenanceMismatchError,
)
from model_zoo.http.responses import Accepted, Draft, PublishedRelease
from model_zoo.http.transport import Transport
from model_zoo.http.uploads import upload_files
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.folder import FileProgress, manifest_of
from model_zoo.statements.intoto import (
    Provenance,
    ReleaseStatement,
    require_plausible,
    sign_release,
)
from model_zoo.statements.jobs import JobSpec
from model_zoo.statements.manifest import Manifest
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.statements.verification import verify_provenance
from model_zoo.tuf.publisher_roles import (
    PublisherRoles,
    delegated_to,
    edited,
    release_targets,
    renewed,
    sign_roles,
)
from model_zoo.tuf.releases import read_release
from model_zoo.tuf.revocations import YankNotice, yank_edit, yank_notice
from model_zoo.tuf.updater import Anchor

Build = Callable[[PublisherRoles, datetime], dict[str, Metadata[Targets]]]
Send = Callable[[JsonObject], JsonObject | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A publisher's key, and the root whose roles he builds upon."""

    key: SigningKey
    anchor: Anchor


MAX_ROUNDS = 64
"""How often another publish with the same key may be faster before we give up."""


def publish(
    transport: Transport,
    name: ReleaseName,
    folder: Path,
    *,
    signer: Signer,
    provenance: Envelope | None = None,
    progress: FileProgress | None = None,
) -> PublishedRelease:
    """Sign the files in ``folder`` as ``name`` and publish them.

    The publisher's role is built here, from what the pinned root vouches for now: a
    server cannot slip anything into what is signed.

    Raises:
        InvalidSpecError: the folder holds what no release may.
        ConflictError: the name is taken by other files.
        NotPermittedError: the publisher's name is bound to another key, or to none.
        VerificationError: the service refused a file or statement, and says why; or it
            answers with another release.
    """
    manifest = manifest_of(folder)
    envelope = sign_release(ReleaseStatement(name, manifest), signer.key)
    upload = upload_files(transport, manifest, folder, progress=progress)
    body = {
        "upload": upload,
        "envelope": envelope.to_object(),
        "provenance": None if provenance is None else provenance.to_object(),
    }
    bundle = bundle_bytes(envelope=envelope, provenance=provenance)
    add = release_targets(name, manifest, bundle=bundle)
    answer = submit_next_roles(
        transport,
        name.publisher,
        signer=signer,
        build=lambda roles, now: edited(roles, add=add, now=now),
        send=lambda signed: transport.send(
            "PUT", release_path(name), {**body, "roles": signed}
        ),
    )
    return PublishedRelease.read(answer).require_name(name)


def submit_next_roles(
    transport: Transport,
    publisher: str,
    *,
    signer: Signer,
    build: Build,
    send: Send,
) -> JsonObject | None:
    """Build, sign and send a publisher's next roles; again if somebody was faster.

    Versions that the zoo served and lost are skipped.

    Args:
        transport: where the zoo is.
        publisher: whose roles.
        signer: signs, and pins the root that the current roles are verified from.
        build: returns the next version of what changes, unsigned.
        send: hands the signed roles in and returns the answer.

    Raises:
        ConflictError: it is not a matter of versions, or others were always faster.
        ZooError: as ``send`` or the traversal from the root.
    """
    seen: dict[str, int] | None = None
    lost: dict[str, int] = {}
    for _ in range(MAX_ROUNDS):
        with signer.anchor.refreshed(transport.server) as zoo:
            roles, now = zoo.publisher(publisher), signer.anchor.now()
            built = build(roles, now)
        following = above_lost(roles, built, lost=lost, now=now)
        files = sign_roles(following, signer.key)
        try:
            return send({name: json.loads(data) for name, data in files.items()})
        except ConflictError:
            versions = {name: it.signed.version for name, it in following.items()}
            if versions == seen:
                raise
            seen, lost = versions, lost_versions(transport)
    msg = f"{publisher}: others published {MAX_ROUNDS} times meanwhile; try again"
    raise ConflictError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A publisher's notice that the zoo took.

    ``waits_for`` names the keys of which one must co-sign it; until then the release
    is not withdrawn. None: it is.
    """

    notice: YankNotice
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A publisher's roles signed anew: role -> version that is current since.

    ``waits_for`` names the keys of which one must co-sign it. None: it is done.
    """

    versions: Mapping[str, int]
    waits_for: tuple[str, ...] = ()


def yank(
    transport: Transport,
    name: ReleaseName,
    *,
    signer: Signer,
    reason: str,
) -> Withdrawal:
    """Withdraw a release of one's own, for good; return the notice that says so.

    Raises:
        NotFoundError: no such release, or it is withdrawn already.
        InvalidSpecError: no reason, or too long a one.
        ZooError: as ``submit_next_roles``.
    """
    with signer.anchor.refreshed(transport.server) as zoo:
        release = read_release(zoo, name)
    manifest = release.statement.manifest
    notice = yank_notice(
        name,
        reason=reason,
        files={file.name: file.sha256 for file in manifest.tensors()},
        now=signer.anchor.now(),
    )
    edit = yank_edit(name, notice, manifest=manifest, bundle=release.bundle)
    answer = submit_next_roles(
        transport,
        name.publisher,
        signer=signer,
        build=lambda roles, now: edited(
            roles, add=edit.add, remove=edit.remove, now=now
        ),
        send=lambda signed: transport.send(
            "POST",
            f"{release_path(name)}/yank",
            {"notice": notice.to_object(), "roles": signed},
        ),
    )
    if not Accepted.read(answer).pending:
        return Withdrawal(notice=notice)
    others = cosigners(transport, name.publisher, signer)
    return Withdrawal(notice=notice, waits_for=others)


def renew(transport: Transport, publisher: str, *, signer: Signer) -> Renewal:
    """Sign a publisher's roles anew before they expire; nothing else changes.

    Raises:
        InvalidSpecError: the publisher has no release.
        ZooError: as ``submit_next_roles``.
    """
    answer = submit_next_roles(
        transport,
        publisher,
        signer=signer,
        build=lambda roles, now: renewed(roles, now=now),
        send=lambda signed: transport.send("POST", ROLES_PATH, {"roles": signed}),
    )
    accepted = Accepted.read(answer)
    if not accepted.pending:
        return Renewal(versions=accepted.versions)
    others = cosigners(transport, publisher, signer)
    return Renewal(versions={}, waits_for=others)


def re_sign(
    transport: Transport, publisher: str, *, signer: Signer, keys: Role
) -> dict[str, bytes]:
    """Return the files of a publisher's roles, signed anew for keys to come.

    They are for the operator, who hands them in with the targets that delegate to
    ``keys``; every other holder that must sign adds a signature first.

    Raises:
        InvalidSpecError: the publisher has no release.
        ZooError: as the traversal from the root.
    """
    with signer.anchor.refreshed(transport.server) as zoo:
        current = zoo.publisher(publisher)
        to_come = delegated_to(current, *keys.keys, threshold=keys.threshold)
        now = signer.anchor.now()
        lost = lost_versions(transport)
        following = above_lost(to_come, renewed(to_come, now=now), lost=lost, now=now)
        return sign_roles(following, signer.key)


def cosigners(transport: Transport, publisher: str, signer: Signer) -> tuple[str, ...]:
    """Return the keyids of those who can co-sign what ``signer`` signed.

    Raises:
        ZooError: as the traversal from the root.
    """
    with signer.anchor.refreshed(transport.server) as zoo:
        keyids = zoo.publisher(publisher).delegation.keyids
    return tuple(keyid for keyid in keyids if keyid != signer.key.public.keyid)


def order(builder: PublicKey, spec: JobSpec) -> Policy:
    """Return what a draft must fulfil: this builder says it followed this spec."""
    return Policy(publisher=None, builder=Role("builder", (builder,)), spec=spec)


def publish_job(
    transport: Transport,
    job: str,
    *,
    name: ReleaseName,
    signer: Signer,
    order: Policy,
    progress: FileProgress | None = None,
) -> PublishedRelease:
    """Publish what ``job`` made, once it is what was ordered.

    The draft's files are downloaded and hashed here, and their provenance must be
    signed by the pinned builder and name these files and this spec. Only then does
    the publisher's key sign.

    Raises:
        VerificationError: the draft is not what was ordered; nothing was signed.
        ZooError: as ``publish``.
    """
    with TemporaryDirectory(prefix="zoo-draft-") as folder:
        to = Path(folder)
        provenance = fetch_draft(transport, job, order=order, to=to, progress=progress)
        return publish(
            transport,
            name,
            to,
            signer=signer,
            provenance=provenance,
            progress=progress,
        )


def fetch_draft(
    transport: Transport,
    job: str,
    *,
    order: Policy,
    to: Path,
    progress: FileProgress | None = None,
) -> Envelope:
    """Download what ``job`` made into ``to`` and return its verified provenance.

    It has to name this job: what a builder once made of the same spec is no answer.

    Raises:
        NotFoundError: no such job, or it has no draft.
        VerificationError: it is not what was ordered.
    """
    draft = Draft.read(transport.get(f"/jobs/{job}/draft"))
    try:
        manifest = Manifest(files=draft.files)
    except ValueError as error:
        msg = f"draft of job {job}: {error}"
        raise MalformedDocumentError(msg) from error
    provenance = Envelope.from_object(draft.provenance)
    made = verify_provenance(provenance, manifest=manifest, policy=order)
    _require_made_for(job, made, spec=order.spec)
    download_files(
        transport,
        f"/jobs/{job}/draft/files",
        manifest=manifest,
        to=to,
        progress=progress,
    )
    return provenance


def _require_made_for(job: str, made: Provenance, *, spec: JobSpec | None) -> None:
    if made.invocation.partition("/")[0] != job:
        msg = f"the provenance is of another job than {job}; submit it again"
        raise ProvenanceMismatchError(msg)
    if spec is not None:
        require_plausible(made, spec)
