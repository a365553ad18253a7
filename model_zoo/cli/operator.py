"""``zoo trust delegate | keys | withdraw | renew``: what offline keys decide."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import (
    Connection,
    PassphraseFile,
    TrustRoot,
    anchor_of,
    refuse_options,
    signing_key,
)
from model_zoo.cli.output import emit, say
from model_zoo.cli.trust_files import (
    loaded,
    re_signed_file,
    re_signed_roles,
    read_file,
    report,
    role_keys,
    say_who_must_sign,
    write_new,
)
from model_zoo.client import operate, publish
from model_zoo.client.cosign import cosign_re_signed
from model_zoo.client.publish import Signer
from model_zoo.errors import InvalidSpecError
from model_zoo.files import write_beside
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.keys.p256 import key_hint
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.tuf.roles import to_bytes
from model_zoo.tuf.updater import Anchor

Threshold = Annotated[int, typer.Option(min=1, help="How many of them must sign.")]
TRUSTED_KINDS = {
    "builder": "builders",
    "witness": "witnesses",
    "scanner": "scanners",
    "log": "log",
    "log, retired": "log_retired",
    "bundles": "oms",
}
"""What a trusted key is for, as people read it -> the field of ``TrustedKeys``."""
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
    re_signed: Annotated[
        Path | None, typer.Option("--with", help="Written by zoo trust renew --out.")
    ] = None,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    connection: Connection,
) -> None:
    """Give a publisher's name its keys, or other keys."""
    held = {} if re_signed is None else re_signed_roles(read_file(re_signed))
    if re_signed is not None and not held:
        msg = f"--with {re_signed}: expected the roles that zoo trust renew --out wrote"
        raise InvalidSpecError(msg)
    roles = {name: to_bytes(metadata) for name, metadata in held.items()}
    edit = operate.delegate_to(publisher, role_keys(key, threshold), re_signed=roles)
    keys = [signing_key(path, passphrase_file=passphrase_file) for path in targets_key]
    with connection.transport() as transport:
        versions = operate.change_targets(
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
    targets_key: TargetsKey = [],  # noqa: B006
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    connection: Connection,
) -> None:
    """Show the keys that one pinned root brings along; with --targets-key, change them.

    With --targets-key and no change they are signed anew.
    """
    if not targets_key:
        changes = (add_builder, add_witness, remove_builder, remove_witness)
        if any((*changes, passphrase_file)):
            msg = "whoever changes the trusted keys signs for it: give --targets-key"
            raise InvalidSpecError(msg)
        _show_trusted(anchor_of(trust), connection.transport())
        return
    edit = operate.edit_trusted_keys(
        add={"builders": loaded(add_builder), "witnesses": loaded(add_witness)},
        remove={
            "builders": loaded(remove_builder),
            "witnesses": loaded(remove_witness),
        },
    )
    keys = [signing_key(path, passphrase_file=passphrase_file) for path in targets_key]
    with connection.transport() as transport:
        versions = operate.change_targets(
            transport, anchor=anchor_of(trust), keys=keys, edit=edit
        )
    report("changed the trusted keys", versions)


def _show_trusted(anchor: Anchor, transport: Transport) -> None:
    """Tell every key that the root brings along by what it is for and by its name."""
    with transport, anchor.refreshed(transport.server) as zoo:
        trusted = zoo.trusted_keys()
    keys = {
        kind: [
            {"keyid": _keyid(pem, field), "public_key": pem}
            for pem in getattr(trusted, field)
        ]
        for kind, field in TRUSTED_KINDS.items()
    }
    for kind, its in keys.items():
        for key in its or [{"keyid": "none"}]:
            say(f"{kind}: {key['keyid']}")
    emit(dict(keys))


def _keyid(pem: str, field: str) -> str:
    """Return what a key is called: Ed25519's by us, P-256's by model_signing."""
    return key_hint(pem) if field == "oms" else PublicKey.from_pem(pem).keyid


def withdraw(
    names: Annotated[list[str], typer.Argument(help="publisher/model@version ...")],
    *,
    reason: Annotated[str, typer.Option(help="Why; everybody will read it.")],
    targets_key: TargetsKey,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    connection: Connection,
) -> None:
    """Withdraw any publisher's releases, for good: the operator's act."""
    reasons = {ReleaseName.parse(name): reason for name in names}
    keys = [signing_key(path, passphrase_file=passphrase_file) for path in targets_key]
    with connection.transport() as transport:
        versions = operate.change_targets(
            transport,
            anchor=anchor_of(trust),
            keys=keys,
            edit=operate.withdraw_releases(reasons),
        )
    report(f"withdrew {', '.join(names)}", versions)


def renew(
    context: typer.Context,
    publisher: Annotated[str, typer.Argument(help="Your publisher's name.")],
    *,
    key: Annotated[Path, typer.Option("--key", help="Your encrypted key (PEM).")],
    out: Annotated[
        Path | None, typer.Option(help="Write it for the operator; else hand it in.")
    ] = None,
    next_key: Annotated[
        list[Path],
        typer.Option(help="With --out: every key to come, if several (PEM)."),
    ] = [],  # noqa: B006
    threshold: Threshold = 1,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    connection: Connection,
) -> None:
    """Sign your role anew: before it expires, or with a new key for the operator."""
    signer = Signer(
        key=signing_key(key, passphrase_file=passphrase_file), anchor=anchor_of(trust)
    )
    if out is None:
        refuse_options(context, "next_key", why="the operator needs it, with --out")
    if not next_key:
        refuse_options(context, "threshold", why="it is of several keys: --next-key")
    with connection.transport() as transport:
        if out is None:
            _report_renewal(
                publisher, publish.renew(transport, publisher, signer=signer)
            )
            return
        keys = (
            role_keys(next_key, threshold)
            if next_key
            else Role(keys=(signer.key.public,))
        )
        files = publish.re_sign(transport, publisher, signer=signer, keys=keys)
    write_new(out, re_signed_file(files))
    say(f"wrote {out}; every other holder runs: zoo trust sign {out} --key KEY.pem")
    say(f"then the operator: zoo trust delegate {publisher} --with {out}")
    emit({"roles": sorted(files)})


def _report_renewal(publisher: str, renewal: publish.Renewal) -> None:
    if renewal.waits_for:
        say(f"handed in, not renewed yet: {publisher}")
        say_who_must_sign(publisher, renewal.waits_for)
        emit({"versions": {}, "waits_for": list(renewal.waits_for)})
    else:
        report(f"renewed {publisher}", dict(renewal.versions))


def sign_re_signed(file: Path, signer: Signer, transport: Transport) -> None:
    """Add a signature to the roles in ``file``, which ``renew`` wrote for the operator.

    Raises:
        VerificationError: they are not the current ones, signed anew.
    """
    roles = re_signed_roles(read_file(file))
    write_beside(file, re_signed_file(cosign_re_signed(transport, roles, signer)))
    signed = ", ".join(
        f"{name} version {it.signed.version}" for name, it in roles.items()
    )
    say(f"signed {signed}: what is current, and nothing more")
    signatures = {name: sorted(it.signatures) for name, it in roles.items()}
    emit({"signatures": signatures})
