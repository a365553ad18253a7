"""Publishing: the key stays here, and nobody signs a digest unseen."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.metadata import Metadata, Targets

from model_zoo.answers import Draft, PublishedRelease
from model_zoo.attestations import ReleaseStatement, sign_release
from model_zoo.bundles import bundle_bytes
from model_zoo.canonical import JsonObject
from model_zoo.digests import sha256_bytes
from model_zoo.envelopes import Envelope, Role
from model_zoo.errors import ConflictError, MalformedDocumentError
from model_zoo.folders import FileProgress, manifest_of
from model_zoo.jobs import JobSpec
from model_zoo.keys import PublicKey, SigningKey
from model_zoo.manifest import Manifest
from model_zoo.names import ReleaseName
from model_zoo.policy import VerificationPolicy
from model_zoo.pulling import download_files, release_path
from model_zoo.transport import Transport
from model_zoo.trust.anchor import Anchor
from model_zoo.trust.publishing import (
    PublisherRoles,
    edited,
    release_targets,
    sign_roles,
    target_file,
)
from model_zoo.trust.releases import read_release
from model_zoo.trust.roles import target_path
from model_zoo.trust.yanks import YANK_NAME, YankNotice, yank_notice
from model_zoo.uploads import upload_files
from model_zoo.verification import verify_provenance

Build = Callable[[PublisherRoles, datetime], dict[str, Metadata[Targets]]]
Send = Callable[[JsonObject], JsonObject | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
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
    author: Author,
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
        VerificationError: the service refused a file or statement, and says why.
    """
    manifest = manifest_of(folder)
    envelope = sign_release(ReleaseStatement(name, manifest), author.key)
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
        author=author,
        build=lambda roles, now: edited(roles, add=add, now=now),
        send=lambda signed: transport.send(
            "PUT", release_path(name), {**body, "roles": signed}
        ),
    )
    return PublishedRelease.read(answer)


def submit_next_roles(
    transport: Transport,
    publisher: str,
    *,
    author: Author,
    build: Build,
    send: Send,
) -> JsonObject | None:
    """Build, sign and send a publisher's next roles; again if somebody was faster.

    Args:
        transport: where the zoo is.
        publisher: whose roles.
        author: signs, and pins the root that the current roles are verified from.
        build: returns the next version of what changes, unsigned.
        send: hands the signed roles in and returns the answer.

    Raises:
        ConflictError: it is not a matter of versions, or others were always faster.
        ZooError: as ``send`` or the walk from the root.
    """
    seen: dict[str, int] | None = None
    for _ in range(MAX_ROUNDS):
        with author.anchor.refreshed(transport.server) as zoo:
            following = build(zoo.publisher(publisher), author.anchor.now())
        files = sign_roles(following, author.key)
        try:
            return send({name: json.loads(data) for name, data in files.items()})
        except ConflictError:
            versions = {name: it.signed.version for name, it in following.items()}
            if versions == seen:
                raise
            seen = versions
    msg = f"{publisher}: others published {MAX_ROUNDS} times meanwhile; try again"
    raise ConflictError(msg)


def yank(
    transport: Transport,
    name: ReleaseName,
    *,
    author: Author,
    reason: str,
) -> YankNotice:
    """Withdraw a release of one's own, for good; return the notice that says so.

    Raises:
        NotFoundError: no such release, or it is withdrawn already.
        InvalidSpecError: no reason, or too long a one.
        ZooError: as ``submit_next_roles``.
    """
    with author.anchor.refreshed(transport.server) as zoo:
        release = read_release(zoo, name)
    tensors = release.statement.manifest.tensors()
    notice = yank_notice(
        name,
        reason=reason,
        files={file.name: file.sha256 for file in tensors},
        now=author.anchor.now(),
    )
    data, path = notice.to_bytes(), target_path(name, YANK_NAME)
    add = {path: target_file(path, size_bytes=len(data), sha256=sha256_bytes(data))}
    remove = release_targets(name, release.statement.manifest, bundle=release.bundle)
    submit_next_roles(
        transport,
        name.publisher,
        author=author,
        build=lambda roles, now: edited(roles, add=add, remove=remove, now=now),
        send=lambda signed: transport.send(
            "POST",
            f"{release_path(name)}/yank",
            {"notice": notice.to_object(), "roles": signed},
        ),
    )
    return notice


def order(builder: PublicKey, spec: JobSpec) -> VerificationPolicy:
    """Return what a draft must fulfil: this builder says it followed this spec."""
    return VerificationPolicy(
        publisher=None, builder=Role("builder", (builder,)), spec=spec
    )


def publish_job(
    transport: Transport,
    job: str,
    *,
    name: ReleaseName,
    author: Author,
    order: VerificationPolicy,
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
            author=author,
            provenance=provenance,
            progress=progress,
        )


def fetch_draft(
    transport: Transport,
    job: str,
    *,
    order: VerificationPolicy,
    to: Path,
    progress: FileProgress | None = None,
) -> Envelope:
    """Download what ``job`` made into ``to`` and return its verified provenance.

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
    verify_provenance(provenance, manifest=manifest, policy=order)
    download_files(
        transport,
        f"/jobs/{job}/draft/files",
        manifest=manifest,
        to=to,
        progress=progress,
    )
    return provenance
