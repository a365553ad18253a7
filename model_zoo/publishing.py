"""Publishing: the key stays here, and nobody signs a digest unseen."""

from pathlib import Path
from tempfile import TemporaryDirectory

from model_zoo.answers import Draft, PublishedRelease
from model_zoo.attestations import ReleaseStatement, sign_release
from model_zoo.envelopes import Envelope, Role
from model_zoo.errors import MalformedDocumentError
from model_zoo.folders import FileProgress, manifest_of
from model_zoo.jobs import JobSpec
from model_zoo.keys import PublicKey, SigningKey
from model_zoo.manifest import Manifest
from model_zoo.names import ReleaseName
from model_zoo.policy import VerificationPolicy
from model_zoo.pulling import download_files, release_path
from model_zoo.transport import Transport
from model_zoo.uploads import upload_files
from model_zoo.verification import verify_provenance


def publish(
    transport: Transport,
    name: ReleaseName,
    folder: Path,
    *,
    key: SigningKey,
    provenance: Envelope | None = None,
    progress: FileProgress | None = None,
) -> PublishedRelease:
    """Sign the files in ``folder`` as ``name`` and publish them.

    Raises:
        InvalidSpecError: the folder holds what no release may.
        ConflictError: the name is taken by other files.
        NotPermittedError: the publisher's name is bound to another key, or to none.
        VerificationError: the service refused a file or statement, and says why.
    """
    manifest = manifest_of(folder)
    envelope = sign_release(ReleaseStatement(name, manifest), key)
    upload = upload_files(transport, manifest, folder, progress=progress)
    body = {
        "upload": upload,
        "envelope": envelope.to_object(),
        "provenance": None if provenance is None else provenance.to_object(),
    }
    return PublishedRelease.read(transport.send("PUT", release_path(name), body))


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
    key: SigningKey,
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
            transport, name, to, key=key, provenance=provenance, progress=progress
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
