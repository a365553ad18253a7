"""``zoo pull | verify | lock | publish | list | show``: releases as users see them."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.canonical import JsonObject
from model_zoo.cli.demands import (
    AllowWithdrawn,
    BuilderKey,
    PolicyFile,
    SpecFile,
    policy_of,
    require_overridable,
)
from model_zoo.cli.options import (
    DEFAULT_URL,
    Authority,
    PassphraseFile,
    PublisherKeys,
    SigningKeyFile,
    Threshold,
    TokenFile,
    TrustRoot,
    Url,
    connect,
    pinned,
    publisher_role,
    refuse_options,
    signing_key,
)
from model_zoo.cli.output import emit, file_progress, say
from model_zoo.cli.specs import read_spec
from model_zoo.client.lockfile import (
    LOCK_NAME,
    Lock,
    LockedRelease,
    lock_releases,
    pull_locked,
    read_lock,
    write_lock,
)
from model_zoo.client.trusted_pull import verify_folder
from model_zoo.client.zoo import ZooClient
from model_zoo.clock import rfc3339
from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.http.responses import PublishedRelease
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.dsse import MAX_ENVELOPE_BYTES, Envelope
from model_zoo.statements.jobs import JobSpec
from model_zoo.statements.policy import Policy
from model_zoo.statements.verification import VerifiedRelease, verify_directory
from model_zoo.text import printable

ProvenanceFile = Annotated[
    Path | None,
    typer.Option(help="For a folder: how a builder says it was made (zoo export)."),
]
FolderToPublish = Annotated[Path | None, typer.Argument(help="Folder of files.")]
PublishAs = Annotated[str, typer.Option("--as", help="publisher/model@version")]
JobToPublish = Annotated[str, typer.Option(help="Publish what this job made.")]
ToFolder = Annotated[
    Path | None, typer.Option("--to", help="Folder to make; else named after it.")
]
NameToPull = Annotated[str, typer.Argument(help="publisher/model[@version]")]
Frozen = Annotated[
    bool, typer.Option("--frozen", help="Pull exactly what the lock file says.")
]
LockFile = Annotated[Path, typer.Option("--lock", help="The lock file.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to ``app``."""
    for command in (pull, verify, publish, show):
        app.command()(command)
    app.command("lock")(lock)
    app.command("list")(list_models)


def pull(
    context: typer.Context,
    name: NameToPull = "",
    *,
    key: PublisherKeys = [],  # noqa: B006  typer copies it
    threshold: Threshold = None,
    builder: BuilderKey = None,
    spec: SpecFile = None,
    to: ToFolder = None,
    trust: TrustRoot = None,
    policy: PolicyFile = None,
    allow_withdrawn: AllowWithdrawn = [],  # noqa: B006  typer copies it
    frozen: Frozen = False,
    lock_file: LockFile = Path(LOCK_NAME),
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Download a release; keep it only if root or keys vouch for every byte.

    Pin the zoo's root with --trust, or one publisher's keys with --key, or both: then
    both must hold.
    """
    _refuse_of_other_pulls(context, name, frozen=frozen)
    demanded = policy_of(
        publisher_role(key, threshold=threshold),
        made_by=(builder, spec),
        file=policy,
        allow_withdrawn=allow_withdrawn,
    )
    lock = read_lock(lock_file) if frozen else None
    anchor = pinned(trust) or (None if lock is None else lock.anchor())
    with connect(url, ca=ca, token_file=token_file, anchor=anchor) as zoo:
        if lock is None:
            release = zoo.resolve(name)
            require_overridable(allow_withdrawn, [str(release)])
            pulled = [_pull_one(zoo, release, policy=demanded, to=to)]
        else:
            locked = [it.name for it in lock.choose(name)]
            require_overridable(allow_withdrawn, locked)
            pulled = _pull_frozen(zoo, lock, name, policy=demanded, to=to)
    _report(pulled)


def verify(
    folder: Annotated[Path, typer.Argument(help="A pulled release.")],
    *,
    key: PublisherKeys = [],  # noqa: B006  typer copies it
    threshold: Threshold = None,
    builder: BuilderKey = None,
    spec: SpecFile = None,
    trust: TrustRoot = None,
    policy: PolicyFile = None,
    allow_withdrawn: AllowWithdrawn = [],  # noqa: B006  typer copies it
    name: Annotated[
        str, typer.Option(help="The release it should be; else it is shown.")
    ] = "",
) -> None:
    """Verify a pulled folder again: every byte, with no network and no service.

    Root and keys, where both are pinned, must both hold.
    """
    expected = ReleaseName.parse(name) if name else None
    demanded = policy_of(
        publisher_role(key, threshold=threshold),
        made_by=(builder, spec),
        file=policy,
        allow_withdrawn=allow_withdrawn,
    )
    anchor = pinned(trust)
    if anchor is None:
        found = verify_directory(folder, name=expected, policy=demanded)
    else:
        found = verify_folder(folder, anchor=anchor, policy=demanded, name=expected)
    require_overridable(allow_withdrawn, [str(found.statement.release)])
    _report([found])


def lock(
    names: Annotated[list[str], typer.Argument(help="publisher/model[@version] ...")],
    *,
    key: PublisherKeys = [],  # noqa: B006  typer copies it
    threshold: Threshold = None,
    trust: TrustRoot = None,
    lock_file: LockFile = Path(LOCK_NAME),
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Add releases to zoo.lock, for ``zoo pull --frozen``: digests, and what is pinned.

    With --trust the root is kept in the file: frozen pulls walk from it, and learn of
    withdrawals. A root that the file has already counts as if it were given.
    """
    publisher = publisher_role(key, threshold=threshold)
    known = read_lock(lock_file) if lock_file.exists() else None
    anchor = pinned(trust)
    if known is not None:
        known.require_no_other(None if anchor is None else anchor.root.decode())
        anchor = anchor or known.anchor()
    with connect(url, ca=ca, token_file=token_file, anchor=anchor) as zoo:
        releases = [zoo.resolve(name) for name in names]
        locked = lock_releases(zoo, releases, publisher=publisher)
    write_lock(locked if known is None else known.merged_with(locked), lock_file)
    for release in locked.releases:
        say(f"locked {release.name}, statement sha256 {release.statement_sha256}")
    emit(locked.to_object())


def publish(
    context: typer.Context,
    folder: FolderToPublish = None,
    *,
    as_: PublishAs,
    key: SigningKeyFile,
    job: JobToPublish = "",
    builder: BuilderKey = None,
    spec: SpecFile = None,
    provenance: ProvenanceFile = None,
    passphrase_file: PassphraseFile = None,
    trust: TrustRoot = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Sign files on this machine and publish them: a folder, or what a job made.

    The publisher's role is built upon what the pinned root vouches for now.
    """
    name = ReleaseName.parse(as_)
    if (folder is None) == (not job):
        msg = "give either a folder or --job ID"
        raise InvalidSpecError(msg)
    others = ("provenance",) if job else ("builder", "spec")
    refuse_options(context, *others, why="it is for the other of folder and --job")
    signer = signing_key(key, passphrase_file=passphrase_file)
    with (
        connect(url, ca=ca, token_file=token_file, anchor=pinned(trust)) as zoo,
        file_progress() as bars,
    ):
        if folder is not None:
            made = read_envelope(provenance)
            release = zoo.publish(
                name, folder, key=signer, provenance=made, progress=bars
            )
        else:
            maker, ordered = _order(builder, spec)
            release = zoo.publish_job(
                job, as_=name, key=signer, builder=maker, spec=ordered, progress=bars
            )
    done = "handed in, to be co-signed:" if release.pending else "published"
    say(f"{done} {name}, signed by {signer.public.keyid}")
    emit({**release.to_object(), "keyid": signer.public.keyid})


def show(
    name: Annotated[str, typer.Argument(help="publisher/model[@version]")],
    *,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Show what the zoo says of a model or release; nothing of it is verified here."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        if "@" in name:
            release = zoo.release(name)
            say(f"{_published(release)} (not verified)")
            for file in release.files:
                say(f"  {file.name}, {file.size_bytes:,} bytes, sha256 {file.sha256}")
            emit(release.to_object())
            return
        model = zoo.model(ModelName.parse(name))
    say(f"{model.name}, publisher's keyid {model.publisher_keyid} (not verified)")
    for item in model.releases:
        say(f"  {_published(item)}")
    emit(model.to_object())


def _published(release: PublishedRelease) -> str:
    """Return what the zoo says of a release's day, and of its withdrawal, if any."""
    told = f"{release.name}, published {release.published_at}"
    gone = release.withdrawn
    if gone is not None:
        told += f", WITHDRAWN by the {gone.by} at {gone.at}: {gone.reason}"
    return printable(told)


def list_models(
    *, url: Url = DEFAULT_URL, ca: Authority = None, token_file: TokenFile = None
) -> None:
    """List the models and their versions; those that were withdrawn are marked."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        models = zoo.models()
    for model in models:
        gone = model.withdrawn
        versions = (f"{it} (withdrawn)" if it in gone else it for it in model.versions)
        say(f"{printable(model.name)}  {', '.join(map(printable, versions))}")
    emit({"items": [model.to_object() for model in models]})


def _refuse_of_other_pulls(context: typer.Context, name: str, *, frozen: bool) -> None:
    if not (name or frozen):
        msg = (
            "nothing is named: give publisher/model[@version], or --frozen for all "
            "that the lock file has"
        )
        raise InvalidSpecError(msg)
    if frozen:
        told = "with --frozen the lock file says whose keys count"
        refuse_options(context, "key", "threshold", why=told)
    else:
        refuse_options(context, "lock_file", why="only with --frozen")


def _pull_one(
    zoo: ZooClient, name: ReleaseName, *, policy: Policy, to: Path | None
) -> VerifiedRelease:
    with file_progress() as progress:
        folder = to or _folder(name)
        return zoo.pull(name, policy=policy, to=folder, progress=progress)


def _pull_frozen(
    zoo: ZooClient, lock: Lock, name: str, *, policy: Policy, to: Path | None
) -> list[VerifiedRelease]:
    """Pull one release of a lock, or each into a folder of its own below ``to``."""
    pulled = []
    with file_progress() as progress:
        for it in lock.choose(name):
            folder = _frozen_folder(it, to=to, alone=bool(name))
            pulled.append(
                pull_locked(zoo, lock, it, to=folder, policy=policy, progress=progress)
            )
    return pulled


def _frozen_folder(release: LockedRelease, *, to: Path | None, alone: bool) -> Path:
    name = ReleaseName.parse(release.name)
    if alone and to is not None:
        return to
    return (to or Path()) / name.publisher / name.model / name.version


def _folder(name: ReleaseName) -> Path:
    return Path(f"{name.model}-{name.version}")


def read_envelope(path: Path | None) -> Envelope | None:
    """Return the envelope in the file at ``path``, if there is to be one.

    Raises:
        MalformedDocumentError: it holds none.
        LocalError: it cannot be read.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return Envelope.from_bytes(file.read(MAX_ENVELOPE_BYTES + 1))
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error


def _order(builder: Path | None, spec: Path | None) -> tuple[PublicKey, JobSpec]:
    if builder is None or spec is None:
        msg = "--job needs --builder and --spec: nobody signs what he did not order"
        raise InvalidSpecError(msg)
    return PublicKey.load(builder), read_spec(spec)


def _report(releases: list[VerifiedRelease]) -> None:
    for release in releases:
        manifest = release.statement.manifest
        say(
            f"verified {release.statement.release} in {release.path}: "
            f"{len(manifest.files)} file(s), {manifest.size_bytes:,} bytes, "
            f"{_vouched(release)}"
        )
        for told in release.overridden:
            say(f"  OVERRIDDEN: {told}")
    emit({"verified": [_verified(release) for release in releases]})


def _vouched(release: VerifiedRelease) -> str:
    """Return by whom, or as of when: what is newer than that is not known."""
    signed = f"signed by {', '.join(release.keyids)}"
    if release.as_of is None:
        return signed
    whose = "witnessed" if release.witnessed else "by the zoo's own clock"
    told = f"verified as of {rfc3339(release.as_of)} ({whose}), later yanks unseen"
    return f"{told}, {signed}" if release.keyids else told


def _verified(release: VerifiedRelease) -> JsonObject:
    return {
        "release": str(release.statement.release),
        "path": str(release.path),
        "keyids": list(release.keyids),
        "as_of": None if release.as_of is None else rfc3339(release.as_of),
        "witnessed": release.witnessed,
        "overridden": list(release.overridden),
        "files": release.statement.manifest.to_object()["files"],
    }
