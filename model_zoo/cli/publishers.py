"""``zoo publish | yank | cosign`` and the names that the operator binds to keys."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import (
    BuilderKey,
    Connection,
    PassphraseFile,
    SigningKeyFile,
    SpecFile,
    TrustRoot,
    anchor_of,
    pinned,
    read_spec,
    refuse_options,
    signing_key,
)
from model_zoo.cli.output import emit, file_progress, say
from model_zoo.cli.trust_files import say_who_must_sign
from model_zoo.client.cosign import cosign
from model_zoo.client.publish import Signer
from model_zoo.errors import InvalidSpecError
from model_zoo.files import translate_os_errors
from model_zoo.http.responses import BoundKey
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import ReleaseName, check_name
from model_zoo.statements.dsse import MAX_ENVELOPE_BYTES, Envelope
from model_zoo.statements.jobs import JobSpec

ProvenanceFile = Annotated[
    Path | None,
    typer.Option(help="For a folder: how a builder says it was made (zoo export)."),
]
FolderToPublish = Annotated[Path | None, typer.Argument(help="Folder of files.")]
PublishAs = Annotated[str, typer.Option("--as", help="publisher/model@version")]
JobToPublish = Annotated[str, typer.Option(help="Publish what this job made.")]
Name = Annotated[str, typer.Argument(help="The name, free or bound to this key.")]
Key = Annotated[Path, typer.Option("--key", help="Their public key (PEM).")]

app = typer.Typer(help="Bind publishers to keys.", no_args_is_help=True)
trainers = typer.Typer(help="Bind trainers to builder keys.", no_args_is_help=True)


def register(zoo: typer.Typer) -> None:
    """Add the commands of this module to ``zoo``."""
    zoo.command()(publish)
    zoo.command()(yank)
    zoo.command("cosign")(cosign_change)


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
    connection: Connection,
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
        connection.client(pinned(trust)) as zoo,
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


def yank(
    name: Annotated[str, typer.Argument(help="publisher/model@version")],
    *,
    reason: Annotated[str, typer.Option(help="Why; everybody will read it.")],
    key: SigningKeyFile,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    connection: Connection,
) -> None:
    """Withdraw a release of yours, for good; clients refuse it, and what it made."""
    signer = signing_key(key, passphrase_file=passphrase_file)
    with connection.client(pinned(trust)) as zoo:
        withdrawal = zoo.yank(name, reason=reason, key=signer)
    notice, waits_for = withdrawal.notice, withdrawal.waits_for
    if waits_for:
        say(f"handed in, not withdrawn yet: {name}: {notice.reason}")
        say_who_must_sign(ReleaseName.parse(name).publisher, waits_for)
    else:
        say(notice.to_line())
    emit({**notice.to_object(), "waits_for": list(waits_for)})


def cosign_change(
    publisher: Annotated[str, typer.Argument(help="Whose change waits.")],
    *,
    key: SigningKeyFile,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    connection: Connection,
) -> None:
    """Add the signature that a publisher's release, yank or renewal still lacks.

    What waits is built again here, from what your own root vouches for, and compared.
    """
    signer = Signer(
        key=signing_key(key, passphrase_file=passphrase_file), anchor=anchor_of(trust)
    )
    with connection.transport() as transport:
        change = cosign(transport, check_name(publisher, what="publisher"), signer)
    say(f"signed {change.change}")
    say("others must sign it too" if change.pending else "that was enough: it is done")
    emit({"name": change.name, "signed": change.change, "pending": change.pending})


@app.callback()
@trainers.callback()
def _group() -> None:
    """Keep ``bind`` a command of its own, though it is the only one."""


@app.command("bind")
def bind_publisher(
    name: Name,
    *,
    key: Key,
    connection: Connection,
) -> None:
    """Bind a publisher's name to a key, once and for all."""
    with connection.client() as zoo:
        _report_key(zoo.bind_publisher(name, PublicKey.load(key)))


@trainers.command("bind")
def bind_trainer(
    name: Name,
    *,
    key: Key,
    connection: Connection,
) -> None:
    """Bind a trainer's name to a builder's key, once and for all."""
    with connection.client() as zoo:
        _report_key(zoo.bind_trainer(name, PublicKey.load(key)))


def _report_key(bound: BoundKey) -> None:
    say(f"{bound.name} is bound to {bound.keyid}")
    emit(bound.to_object())


def read_envelope(path: Path | None) -> Envelope | None:
    """Return the envelope in the file at ``path``, if there is to be one.

    Raises:
        MalformedDocumentError: it holds none.
        LocalError: it cannot be read.
    """
    if path is None:
        return None
    with translate_os_errors(f"cannot read {path}"), path.open("rb") as file:
        return Envelope.from_bytes(file.read(MAX_ENVELOPE_BYTES + 1))


def _order(builder: Path | None, spec: Path | None) -> tuple[PublicKey, JobSpec]:
    if builder is None or spec is None:
        msg = "--job needs --builder and --spec: nobody signs what he did not order"
        raise InvalidSpecError(msg)
    return PublicKey.load(builder), read_spec(spec)
