"""``zoo trust delegate | keys | withdraw | renew``: what offline keys decide."""

import json
from pathlib import Path
from typing import Annotated

import typer

from model_zoo.canonical import parse_object
from model_zoo.cli.options import (
    DEFAULT_URL,
    Authority,
    PassphraseFile,
    TokenFile,
    TrustRoot,
    Url,
    anchor_of,
    signing_key,
    transport_to,
)
from model_zoo.cli.output import emit, say
from model_zoo.cli.trust_files import loaded, read_file, report, role_keys, write_file
from model_zoo.errors import InvalidSpecError
from model_zoo.names import ReleaseName
from model_zoo.trust import operating
from model_zoo.trust.publishing import delegated_to, renewed, sign_roles
from model_zoo.trust.roles import MAX_METADATA_BYTES

Threshold = Annotated[int, typer.Option(min=1, help="How many of them must sign.")]
TargetsKey = Annotated[
    list[Path],
    typer.Option("--targets-key", help="Your targets key (PEM); never the server's."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to ``zoo trust``."""
    for command in (delegate, withdraw, renew):
        app.command()(command)
    app.command("keys")(trusted_keys)


def delegate(
    publisher: Annotated[str, typer.Argument(help="The publisher's name.")],
    *,
    key: Annotated[list[Path], typer.Option("--key", help="Public key (PEM).")],
    threshold: Threshold = 1,
    targets_key: TargetsKey,
    resigned: Annotated[
        Path | None, typer.Option("--with", help="Written by zoo trust renew --out.")
    ] = None,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Give a publisher's name its keys, or other keys."""
    roles = {} if resigned is None else _roles_in(resigned)
    edit = operating.delegate_to(publisher, role_keys(key, threshold), resigned=roles)
    keys = [signing_key(path, passphrase_file=passphrase_file) for path in targets_key]
    with transport_to(url, ca, token_file) as transport:
        versions = operating.change_targets(
            transport, anchor=anchor_of(trust), keys=keys, edit=edit
        )
    report(f"delegated to {publisher}", versions)


def trusted_keys(
    *,
    add_builder: Annotated[
        list[Path], typer.Option(help="Whose provenance counts.")
    ] = [],  # noqa: B006
    add_witness: Annotated[
        list[Path], typer.Option(help="Whose cosignatures do.")
    ] = [],  # noqa: B006
    remove_builder: Annotated[list[Path], typer.Option(help="No longer.")] = [],  # noqa: B006
    remove_witness: Annotated[list[Path], typer.Option(help="No longer.")] = [],  # noqa: B006
    targets_key: TargetsKey,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """List or strike out the keys that one pinned root brings along."""
    edit = operating.trust_keys(
        add={"builders": loaded(add_builder), "witnesses": loaded(add_witness)},
        remove={
            "builders": loaded(remove_builder),
            "witnesses": loaded(remove_witness),
        },
    )
    keys = [signing_key(path, passphrase_file=passphrase_file) for path in targets_key]
    with transport_to(url, ca, token_file) as transport:
        versions = operating.change_targets(
            transport, anchor=anchor_of(trust), keys=keys, edit=edit
        )
    report("changed the trusted keys", versions)


def withdraw(
    names: Annotated[list[str], typer.Argument(help="publisher/model@version ...")],
    *,
    reason: Annotated[str, typer.Option(help="Why; everybody will read it.")],
    targets_key: TargetsKey,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Withdraw any publisher's releases, for good: the operator's act."""
    reasons = {ReleaseName.parse(name): reason for name in names}
    keys = [signing_key(path, passphrase_file=passphrase_file) for path in targets_key]
    with transport_to(url, ca, token_file) as transport:
        versions = operating.change_targets(
            transport,
            anchor=anchor_of(trust),
            keys=keys,
            edit=operating.withdraw_releases(reasons),
        )
    report(f"withdrew {', '.join(names)}", versions)


def renew(
    publisher: Annotated[str, typer.Argument(help="Your publisher's name.")],
    *,
    key: Annotated[Path, typer.Option("--key", help="Your encrypted key (PEM).")],
    out: Annotated[
        Path | None, typer.Option(help="Write it for the operator; else hand it in.")
    ] = None,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Sign your role anew: before it expires, or with a new key for the operator."""
    signer = signing_key(key, passphrase_file=passphrase_file)
    anchor = anchor_of(trust)
    with transport_to(url, ca, token_file) as transport:
        with anchor.refreshed(transport.server) as zoo:
            roles = zoo.publisher(publisher)
            if out is not None:
                roles = delegated_to(roles, signer.public)
            files = sign_roles(renewed(roles, now=anchor.now()), signer)
        if out is None:
            report(f"renewed {publisher}", operating.hand_in(transport, files))
            return
    bundle = {name: json.loads(data) for name, data in files.items()}
    write_file(out, json.dumps(bundle).encode())
    say(f"wrote {out}; the operator runs: zoo trust delegate {publisher} --with {out}")
    emit({"roles": sorted(files)})


def _roles_in(path: Path) -> dict[str, bytes]:
    try:
        value = parse_object(read_file(path), limit_bytes=MAX_METADATA_BYTES)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise InvalidSpecError(msg) from error
    return {name: json.dumps(role).encode() for name, role in value.items()}
