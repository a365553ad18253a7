"""``zoo publishers bind`` and ``zoo trainers bind``: the operator's word on a name."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import DEFAULT_URL, Authority, TokenFile, Url, connect
from model_zoo.cli.output import emit, say
from model_zoo.http.responses import BoundKey
from model_zoo.keys.ed25519 import PublicKey

Name = Annotated[str, typer.Argument(help="The name, free or bound to this key.")]
Key = Annotated[Path, typer.Option("--key", help="Their public key (PEM).")]

publishers = typer.Typer(help="Bind publishers to keys.", no_args_is_help=True)
trainers = typer.Typer(help="Bind trainers to builder keys.", no_args_is_help=True)


@publishers.callback()
@trainers.callback()
def _group() -> None:
    """Keep ``bind`` a command of its own, though it is the only one."""


@publishers.command("bind")
def bind_publisher(
    name: Name,
    *,
    key: Key,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Bind a publisher's name to a key, once and for all."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        _told(zoo.bind_publisher(name, PublicKey.load(key)))


@trainers.command("bind")
def bind_trainer(
    name: Name,
    *,
    key: Key,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Bind a trainer's name to a builder's key, once and for all."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        _told(zoo.bind_trainer(name, PublicKey.load(key)))


def _told(bound: BoundKey) -> None:
    say(f"{bound.name} is bound to {bound.keyid}")
    emit(bound.to_object())
