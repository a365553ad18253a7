"""``zoo trust init | sign | rotate | submit | show``: the ceremony, off line."""

from pathlib import Path
from typing import Annotated

import typer
from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.canonical import JsonObject
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
from model_zoo.cli.trust_files import read_file, report, role_keys, write_file
from model_zoo.clock import rfc3339, system_clock
from model_zoo.errors import InvalidSpecError
from model_zoo.keys import PublicKey
from model_zoo.trust import ceremony, operating
from model_zoo.trust.online_keys import make_server_folder, write_first
from model_zoo.trust.roles import (
    ROOT,
    TARGETS,
    TOP_LEVEL,
    is_development,
    parse,
    sign,
    to_bytes,
)

Threshold = Annotated[int, typer.Option(min=1, help="How many of them must sign.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``zoo trust``."""
    app.command()(init)
    app.command("sign")(sign_file)
    for command in (rotate, rekey, submit, show):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder: goes to the server.")],
    *,
    root_key: Annotated[
        list[Path], typer.Option(help="A holder's public key (PEM); at least three.")
    ],
    targets_key: Annotated[
        list[Path], typer.Option(help="Public key for the top-level targets (PEM).")
    ],
    threshold: Threshold = 2,
    targets_threshold: Threshold = 1,
) -> None:
    """Begin a ceremony: online keys, and root and targets still to be signed."""
    if len(root_key) <= threshold:
        msg = (
            f"{len(root_key)} root keys and a threshold of {threshold}: with one key "
            "lost the root could never change again; list one more"
        )
        raise InvalidSpecError(msg)
    root, targets = make_server_folder(
        folder,
        root_keys=role_keys(root_key, threshold),
        targets_keys=role_keys(targets_key, targets_threshold),
        now=system_clock(),
    )
    write_first(folder, root, targets)
    say(f"made {folder}; now let {threshold} holders run, each with his own key:")
    say(f"  zoo trust sign {folder / 'root.json'} --key ROOT-KEY.pem")
    say(f"  zoo trust sign {folder / 'targets.json'} --key TARGETS-KEY.pem")
    say(f"then take {folder} to the server: zoo serve --trust-dir {folder}")
    emit({"folder": str(folder)})


def sign_file(
    file: Annotated[Path, typer.Argument(help="Root or targets, to be signed here.")],
    *,
    key: Annotated[Path, typer.Option("--key", help="Your encrypted key (PEM).")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Add your signature to a root or to targets; read it first: zoo trust show."""
    name, metadata = operating.parse_role(read_file(file))
    sign(metadata, signing_key(key, passphrase_file=passphrase_file))
    write_file(file, to_bytes(metadata))
    say(f"signed {name} version {metadata.signed.version}")
    emit({"role": name, "signatures": sorted(metadata.signatures)})


def rotate(
    root: Annotated[Path, typer.Argument(help="The newest root.")],
    *,
    role: Annotated[str, typer.Option(help="root, targets, snapshot or timestamp.")],
    key: Annotated[list[Path], typer.Option("--key", help="Public key (PEM).")],
    threshold: Annotated[
        int, typer.Option(min=0, help="How many must sign; else as many as before.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="The next root, to be signed.")],
) -> None:
    """Write the next root, in which a role has other keys; old and new holders sign."""
    if role not in TOP_LEVEL:
        msg = f"role {role!a}: expected one of {', '.join(TOP_LEVEL)}"
        raise InvalidSpecError(msg)
    current = parse(read_file(root), Root)
    needed = threshold or current.signed.roles[role].threshold
    following = ceremony.next_root(
        current, {role: role_keys(key, needed)}, now=system_clock()
    )
    write_file(out, to_bytes(following))
    say(f"wrote root version {following.signed.version} to {out}, unsigned")
    emit({"version": following.signed.version})


def rekey(
    targets: Annotated[Path, typer.Argument(help="The newest targets.")],
    *,
    key: Annotated[
        Path, typer.Option("--key", help="The server's new snapshot key (PEM).")
    ],
    out: Annotated[Path, typer.Option(help="The next targets, to be signed.")],
) -> None:
    """Write the next targets for a server whose online keys were replaced."""
    current = parse(read_file(targets), Targets)
    following = ceremony.next_targets(current, now=system_clock())
    ceremony.give_yanked(following.signed, PublicKey.load(key))
    write_file(out, to_bytes(following))
    say(f"wrote targets version {following.signed.version} to {out}, unsigned")
    emit({"version": following.signed.version})


def submit(
    file: Annotated[Path, typer.Argument(help="A signed root.")],
    *,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Hand in a root that enough holders have signed."""
    name, metadata = operating.parse_role(read_file(file))
    with transport_to(url, ca, token_file) as transport:
        versions = operating.hand_in(transport, {name: to_bytes(metadata)})
    report(f"handed in {file}", versions)


def show(
    file: Annotated[Path | None, typer.Argument(help="A root or targets file.")] = None,
    *,
    trust: TrustRoot = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Show what a file says; without one, what the zoo vouches for under your root."""
    if file is not None:
        name, metadata = operating.parse_role(read_file(file))
        told = {name: _told(name, metadata)}
    else:
        anchor, transport = anchor_of(trust), transport_to(url, ca, token_file)
        with transport, anchor.refreshed(transport.server) as zoo:
            told = {
                name: _told(name, operating.parse_role(data)[1])
                for name, data in zoo.versions().items()
                if name in {ROOT, TARGETS}
            }
    for name, facts in told.items():
        say(f"{name} version {facts['version']}, expires {facts['expires']}")
        for line in facts["lines"]:
            say(f"  {line}")
    emit(told)


def _told(name: str, metadata: Metadata[Root] | Metadata[Targets]) -> JsonObject:
    """Return a role's facts, and lines for people."""
    signed = metadata.signed
    lines = []
    if isinstance(signed, Root):
        if is_development(signed):
            lines.append("a DEVELOPMENT root: believed on this machine only")
        for role_name, role in signed.roles.items():
            keyids = ", ".join(keyid[:16] for keyid in role.keyids)
            lines.append(f"{role_name}: {role.threshold} of {keyids}")
        result = signed.get_verification_result(
            ROOT, metadata.signed_bytes, metadata.signatures
        )
        lines.append(
            f"signed by {len(result.signed)} of its own root keys, "
            f"{result.threshold} needed"
        )
    else:
        delegations = None if signed.delegations is None else signed.delegations.roles
        for publisher, role in (delegations or {}).items():
            keyids = ", ".join(keyid[:16] for keyid in role.keyids)
            lines.append(f"{publisher}: {role.threshold} of {keyids}")
        lines.append(f"signatures: {len(metadata.signatures)}")
    return {
        "role": name,
        "version": signed.version,
        "expires": rfc3339(signed.expires),
        "lines": lines,
    }
