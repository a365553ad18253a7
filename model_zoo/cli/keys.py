"""``zoo keys``: make a signing key, show a key's name."""

import os
from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import (
    PassphraseFile,
    passphrase,
    refuse_options,
    signing_key,
)
from model_zoo.cli.output import emit, say
from model_zoo.errors import LocalError
from model_zoo.files import write_beside
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.keys.p256 import P256Key, key_hint
from model_zoo.keys.pem import read_pem

PUBLIC_SUFFIX = ".pub.pem"

app = typer.Typer(help="Make and show keys.", no_args_is_help=True)


@app.command()
def generate(
    path: Annotated[Path, typer.Argument(help="New file for the encrypted key.")],
    *,
    p256: Annotated[
        bool, typer.Option("--p256", help="For model_signing bundles; else Ed25519.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a signing key: PATH, encrypted, and its public half beside it."""
    key = P256Key.generate() if p256 else SigningKey.generate()
    public_path = path.with_suffix(PUBLIC_SUFFIX)
    if os.path.lexists(public_path):
        msg = f"{public_path} exists already; choose another name"
        raise LocalError(msg)
    key.save(path, passphrase=passphrase(passphrase_file, confirm=True))
    pem, keyid = _public_of(key)
    write_beside(public_path, pem.encode("ascii"))
    say(f"{path}: keep it, and its passphrase, to yourself")
    say(f"{public_path}: give it to everybody, keyid {keyid}")
    emit(
        {
            "keyid": keyid,
            "key": str(path),
            "public_key": str(public_path),
        }
    )


@app.command()
def show(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A public key, or your signing key.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show a key's public half and keyid; a signing key asks for its passphrase."""
    if _is_private(path):
        key = signing_key(path, passphrase_file=passphrase_file).public
    else:
        refuse_options(context, "passphrase_file", why="a public key has none")
        key = PublicKey.load(path)
    say(f"{path}: keyid {key.keyid}")
    for line in key.to_pem().splitlines():
        say(line)
    emit({"keyid": key.keyid, "public_key": key.to_pem()})


def _public_of(key: SigningKey | P256Key) -> tuple[str, str]:
    """Return a key's public half in PEM, and what it is called."""
    if isinstance(key, P256Key):
        pem = key.public_pem()
        return pem, key_hint(pem)
    return key.public.to_pem(), key.public.keyid


def _is_private(path: Path) -> bool:
    return b"PRIVATE KEY" in read_pem(path)
