"""``zoo export``: the same network for another framework, as a child of what it was."""

import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.cli.options import PassphraseFile, refuse_options, signing_key
from model_zoo.cli.output import emit, say
from model_zoo.clock import rfc3339, system_clock
from model_zoo.digests import sha256_file
from model_zoo.errors import InvalidSpecError
from model_zoo.files import translate_os_errors
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import require_unused
from model_zoo.statements.intoto import Provenance, sign_provenance
from model_zoo.statements.jobs import ExportSpec, kind_of
from model_zoo.statements.manifest import CHECKPOINT_PREFIX, WEIGHTS_SUFFIX
from trainer.cli.subject import Source
from trainer.files import write_whole
from trainer.installed import code_digest

if TYPE_CHECKING:
    from trainer.export.onnx import Exported

ONNX_NAME = "model.onnx"
PROVENANCE_SUFFIX = ".provenance.json"

BuilderKey = Annotated[
    Path | None,
    typer.Option("--key", help="Your builder key (PEM): signs the provenance."),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("export")(export)


def export(
    context: typer.Context,
    source: Source,
    *,
    out: Annotated[Path, typer.Option(help="Folder that gets the conversion.")],
    to: Annotated[str, typer.Option(help="The format: onnx.")] = "onnx",
    network: Annotated[str, typer.Option(help="The architecture's name.")] = (
        "badnets-cnn"
    ),
    opset: Annotated[int, typer.Option(help="The version of ONNX's operators.")] = 18,
    key: BuilderKey = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Convert SOURCE; publish the folder with its provenance, and it is a child.

    With --key its provenance lies beside the folder, as OUT.provenance.json.
    """
    if key is None:
        refuse_options(context, "passphrase_file", why="it is of a --key")
    require_unused(out)
    beside = out.with_name(f"{out.name}{PROVENANCE_SUFFIX}")
    if key is not None:
        require_unused(beside)
    import torch

    from trainer.export import onnx as conversion

    torch.set_num_threads(1)  # as workers do
    weights = weights_in(source)
    chosen = {"network": network, "format": to, "opset": opset}
    spec = _checked({"parent": sha256_of(weights), **chosen})
    signer = None if key is None else signing_key(key, passphrase_file=passphrase_file)
    started = system_clock()
    made = conversion.export(spec, folder=out, parent=weights)
    say(f"{out / ONNX_NAME}: converted from sha256 {spec.parent}")
    if signer is not None:
        signed = _signed(made, spec, signer, started=started)
        write_whole(beside, canonical_json(signed.to_object()))
        say(f"{beside}: signed by builder {signer.public.keyid}")
    emit(_document(out, spec, made))


def _document(out: Path, spec: ExportSpec, made: "Exported") -> JsonObject:
    return {
        "folder": str(out),
        "sha256": sha256_file(out / ONNX_NAME),
        "spec": {"kind": kind_of(spec), **spec.to_object()},
        "environment": made.environment,
    }


def weights_in(source: Path) -> Path:
    """Return ``source``, or the one weights file in the folder that it is.

    Raises:
        InvalidSpecError: there is none, or more than one.
    """
    if not source.is_dir():
        return source
    found = [
        path
        for path in sorted(source.glob(f"*{WEIGHTS_SUFFIX}"))
        if not path.name.startswith(CHECKPOINT_PREFIX)
    ]
    if len(found) != 1:
        msg = (
            f"{source}: {len(found)} weights files, expected one {WEIGHTS_SUFFIX}: "
            "name the one that is meant"
        )
        raise InvalidSpecError(msg)
    return found[0]


def _checked(fields: JsonObject) -> ExportSpec:
    try:
        return ExportSpec.from_object(fields)
    except ValueError as error:
        msg = f"export: {error}"
        raise InvalidSpecError(msg) from error


def sha256_of(path: Path) -> str:
    """Return the digest of a file that a user named.

    Raises:
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"):
        return sha256_file(path)


def _signed(
    made: "Exported", spec: ExportSpec, key: SigningKey, *, started: datetime
) -> Envelope:
    provenance = Provenance(
        subjects={ONNX_NAME: sha256_file(made.folder / ONNX_NAME)},
        kind=kind_of(spec),
        spec=spec.to_object(),
        inputs=made.inputs,
        code=code_digest(),
        environment=made.environment,
        builder=key.public.keyid,
        invocation=uuid.uuid4().hex,
        started_at=rfc3339(started),
        finished_at=rfc3339(system_clock()),
    )
    return sign_provenance(provenance, key)
