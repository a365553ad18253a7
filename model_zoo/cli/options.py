"""Options that several commands share, and how they become things."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from model_zoo.canonical import parse_object
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.files import translate_os_errors
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.keys.pem import read_encrypted_pem
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.jobs import MAX_SPEC_BYTES, JobSpec, parse_spec
from model_zoo.statements.policy import Policy, read_policy
from model_zoo.tuf.updater import ROOT_VARIABLE, Anchor, unpinned

PASSPHRASE_VARIABLE = "ZOO_KEY_PASSPHRASE"  # noqa: S105  the variable's name
TOKEN_VARIABLE = "ZOO_TOKEN"  # noqa: S105  the variable's name
MAX_SECRET_BYTES = 4096

Url = Annotated[str, typer.Option("--url", envvar="ZOO_URL", help="Where the zoo is.")]
Authority = Annotated[
    Path | None,
    typer.Option("--ca", envvar="ZOO_CA", help="PEM of the only authority to believe."),
]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with the zoo's token; else ZOO_TOKEN.")
]
TrustRoot = Annotated[
    Path | None,
    typer.Option("--trust", envvar=ROOT_VARIABLE, help="The pinned trust root (JSON)."),
]
PublisherKeys = Annotated[
    list[Path], typer.Option("--key", help="Pinned publisher key (PEM); repeatable.")
]
Threshold = Annotated[
    int | None,
    typer.Option(min=1, help="How many of the pinned keys must have signed; else one."),
]
SigningKeyFile = Annotated[
    Path, typer.Option("--key", help="Your encrypted signing key (PEM).")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File with the key's passphrase; else ZOO_KEY_PASSPHRASE."),
]
BuilderKey = Annotated[
    Path | None, typer.Option("--builder", help="Pinned builder key (PEM).")
]
SpecFile = Annotated[
    Path | None, typer.Option("--spec", help="The spec that you sent (JSON).")
]
AllowWithdrawn = Annotated[
    list[str],
    typer.Option(help="Take this release although what it was made from is withdrawn."),
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="What else to demand (JSON).")
]
DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Which zoo is asked, whom to believe that it is there, and the token for it.

    A parameter of this type gives a command the options of its fields: see ``spread``.
    Its methods raise InvalidSpecError for a URL or token that cannot be used, and
    LocalError where a file cannot be read.
    """

    url: Url = DEFAULT_URL
    ca: Authority = None
    token_file: TokenFile = None

    def server(self) -> Server:
        """Return where the zoo is."""
        return Server(self.url, ca=self.ca, token=token(self.token_file))

    def transport(self) -> Transport:
        """Return a transport to it."""
        return Transport(self.server())

    def client(self, anchor: Anchor | None = None) -> ZooClient:
        """Return a client of it, under a pinned root if one is given."""
        secret = token(self.token_file)
        return ZooClient(self.url, ca=self.ca, token=secret, anchor=anchor)


def refuse_options(context: typer.Context, *names: str, why: str) -> None:
    """Refuse options that have no effect in the mode asked for.

    An option counts if it stands in the command line, its default's value or not. What
    comes from the environment does not: that is set for all commands alike.

    Args:
        context: of the command.
        names: the options' parameters.
        why: when the option would act, or what acts in its place.

    Raises:
        InvalidSpecError: one of them is given.
    """
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name in names
        and (source := context.get_parameter_source(option.name)) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        msg = f"{', '.join(given)}: without effect here: {why}"
        raise InvalidSpecError(msg)


def pinned(trust: Path | None) -> Anchor | None:
    """Return the pinned root, if one is pinned.

    Raises:
        VerificationError: the file holds no root.
        LocalError: it cannot be read.
    """
    return None if trust is None else Anchor.load(trust)


def anchor_of(trust: Path | None) -> Anchor:
    """Return the pinned root.

    Raises:
        InvalidSpecError: none is pinned.
        VerificationError: the file holds no root.
        LocalError: it cannot be read.
    """
    if trust is None:
        raise unpinned()
    return Anchor.load(trust)


def token(file: Path | None) -> str | None:
    """Return the zoo's token: from a file, else the environment, else none.

    Raises:
        LocalError: the file cannot be read.
    """
    if file is not None:
        return _first_line(file)
    return os.environ.get(TOKEN_VARIABLE) or None


def publisher_role(keys: list[Path], *, threshold: int | None) -> Role | None:
    """Return the role of the pinned keys; None where none is pinned.

    Raises:
        InvalidSpecError: not keys, one twice, or fewer than the threshold; or a
            threshold of no keys.
        LocalError: a file cannot be read.
    """
    if not keys:
        if threshold is not None:
            msg = "--threshold: it says how many of the pinned keys sign: give --key"
            raise InvalidSpecError(msg)
        return None
    return Role("publisher", tuple(map(PublicKey.load, keys)), threshold or 1)


def builder_role(key: Path | None) -> Role | None:
    """Return the role of the pinned builder's key, or None.

    Raises:
        InvalidSpecError: not a key.
        LocalError: the file cannot be read.
    """
    return None if key is None else Role("builder", (PublicKey.load(key),))


def signing_key(path: Path, *, passphrase_file: Path | None) -> SigningKey:
    """Return the signing key in ``path``, asking for its passphrase if need be.

    Raises:
        InvalidSpecError: it is a public key, or of another kind.
        NotPermittedError: the passphrase is wrong or others may read the file.
        LocalError: a file cannot be read, or there is nobody to ask.
    """
    read_encrypted_pem(path)  # nobody is asked to unlock what is no private key
    return SigningKey.load(path, passphrase=passphrase(passphrase_file))


def passphrase(file: Path | None, *, confirm: bool = False) -> bytes:
    """Return a passphrase: from a file, else the environment, else a prompt.

    Raises:
        LocalError: the file cannot be read, or there is nobody to ask.
    """
    if file is not None:
        return _first_line(file).encode()
    if PASSPHRASE_VARIABLE in os.environ:
        return os.environ[PASSPHRASE_VARIABLE].encode()
    if not sys.stdin.isatty():
        msg = f"no passphrase: give --passphrase-file or set {PASSPHRASE_VARIABLE}"
        raise LocalError(msg)
    answer: str = typer.prompt(
        "Passphrase", hide_input=True, confirmation_prompt=confirm, err=True
    )
    return answer.encode()


def _first_line(path: Path) -> str:
    with translate_os_errors(f"cannot read {path}"), path.open("rb") as file:
        data = file.read(MAX_SECRET_BYTES)
    lines = data.decode("utf-8", errors="replace").splitlines()
    if not lines:
        msg = f"{path} is empty"
        raise LocalError(msg)
    return lines[0]


def policy_of(
    publisher: Role | None,
    *,
    made_by: tuple[Path | None, Path | None],
    file: Path | None,
    allow_withdrawn: list[str],
) -> Policy:
    """Return all that the options demand: every file among them is read.

    Args:
        publisher: the pinned publisher keys.
        made_by: the files of the builder's key and of the spec.
        file: the policy file.
        allow_withdrawn: names beside those in the policy file.

    Raises:
        InvalidSpecError: a file does not hold what it should, or a name is none.
        LocalError: a file cannot be read.
    """
    builder, spec = made_by
    demands = Policy() if file is None else read_policy(file)
    names = tuple(str(ReleaseName.parse(name)) for name in allow_withdrawn)
    return demands.model_copy(
        update={
            "publisher": publisher,
            "builder": builder_role(builder),
            "spec": None if spec is None else read_spec(spec),
            "allow_withdrawn": (*demands.allow_withdrawn, *names),
        }
    )


def require_overridable(allowed: list[str], releases: list[str]) -> None:
    """Accept overrides for what is at hand only: another has no effect.

    Raises:
        InvalidSpecError: one is for another release.
    """
    for name in allowed:
        if name not in releases:
            msg = f"--allow-withdrawn {name}: without effect on {', '.join(releases)}"
            raise InvalidSpecError(msg)


def read_spec(path: Path, *, defaults: Mapping[str, str] | None = None) -> JobSpec:
    """Return the spec in the file at ``path``: ``{"kind": "train", "seed": 1, ...}``.

    The kind stands in the user's file, since a server that could choose it could
    have one kind of job checked against the spec of another.

    Args:
        path: the file.
        defaults: what need not be typed, as a command knows it already.

    Raises:
        InvalidSpecError: not JSON, no kind, or not a spec of that kind.
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"), path.open("rb") as file:
        data = file.read(MAX_SPEC_BYTES + 1)
    try:
        typed = parse_object(data, limit_bytes=MAX_SPEC_BYTES)
    except ValueError as error:
        msg = f"{path}: not a spec: {error}"
        raise InvalidSpecError(msg) from error
    fields = {**(defaults or {}), **typed}
    kind = fields.pop("kind", None)
    if not isinstance(kind, str):
        msg = f'{path}: a spec file names its "kind", such as "train"'
        raise InvalidSpecError(msg)
    return parse_spec(kind, fields)
