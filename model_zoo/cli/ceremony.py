"""``zoo trust init | sign | rotate | submit | show``: the ceremony, off line."""

from pathlib import Path
from typing import Annotated

import typer
from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.canonical import JsonObject
from model_zoo.cli.operator import sign_resigned
from model_zoo.cli.options import (
    DEFAULT_URL,
    Authority,
    PassphraseFile,
    TokenFile,
    TrustRoot,
    Url,
    anchor_of,
    refuse_options,
    signing_key,
    transport_to,
)
from model_zoo.cli.output import emit, say
from model_zoo.cli.trust_files import (
    read_file,
    report,
    resigned_roles,
    role_keys,
    write_folder,
    write_new,
)
from model_zoo.client import operate as operating
from model_zoo.client.publish import Author
from model_zoo.clock import rfc3339, system_clock
from model_zoo.errors import InvalidSpecError
from model_zoo.files import write_beside
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.keys.p256 import public_pem
from model_zoo.keys.pem import read_pem
from model_zoo.statements.folder import require_unused
from model_zoo.tuf import ceremony
from model_zoo.tuf.online_keys import (
    KEYS_FILE,
    ROOT_FILE,
    TARGETS_FILE,
    list_trusted_keys,
    make_server_folder,
    named_trusted_keys,
    trusted_keys_file,
    with_online_keys,
    write_first,
)
from model_zoo.tuf.roles import (
    ROOT,
    TARGETS,
    TOP_LEVEL,
    TRUSTED_KEYS,
    is_development,
    parse,
    sign,
    to_bytes,
)
from model_zoo.tuf.trusted_keys import TrustedKeys
from model_zoo.tuf.view import TrustedZoo

SnapshotKey = Annotated[
    Path | None, typer.Option("--key", help="The server's new snapshot key (PEM).")
]
LogKey = Annotated[Path | None, typer.Option(help="Its new key of the log (PEM).")]
OF_THE_ZOO = ("trust", "url", "ca", "token_file")
"""The parameters that say which zoo is asked, and under which root."""

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
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Root, targets or resigned roles.")],
    *,
    key: Annotated[Path, typer.Option("--key", help="Your encrypted key (PEM).")],
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Add your signature to a root or to targets; read it first: zoo trust show.

    Or to a publisher's roles that zoo trust renew --out wrote. These are compared with
    what the zoo vouches for under your pinned root.
    """
    data, signer = read_file(file), signing_key(key, passphrase_file=passphrase_file)
    if resigned_roles(data):
        author = Author(key=signer, anchor=anchor_of(trust))
        with transport_to(url, ca, token_file) as transport:
            sign_resigned(file, author, transport)
        return
    refuse_options(context, *OF_THE_ZOO, why="root and targets are signed off line")
    name, metadata = operating.parse_role(data)
    sign(metadata, signer)
    write_beside(file, to_bytes(metadata))
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
    write_new(out, to_bytes(following))
    say(f"wrote root version {following.signed.version} to {out}, unsigned")
    emit({"version": following.signed.version})


def rekey(
    context: typer.Context,
    targets: Annotated[Path, typer.Argument(help="The newest targets.")],
    *,
    key: SnapshotKey = None,
    log_key: LogKey = None,
    oms_key: Annotated[
        Path | None, typer.Option(help="Its new P-256 key of bundles (PEM).")
    ] = None,
    trusted_keys: Annotated[
        Path | None, typer.Option(help="The trusted keys that the newest targets name.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The next targets, to be signed.")],
) -> None:
    """Write the next targets for a server whose online keys were replaced.

    With another log or P-256 key the next trusted keys are written beside them.
    """
    if not (log_key or oms_key):
        refuse_options(context, "trusted_keys", why="with --log-key or --oms-key only")
        if not key:
            msg = "nothing is replaced: give --key, --log-key or --oms-key"
            raise InvalidSpecError(msg)
    require_unused(out)
    current = parse(read_file(targets), Targets)
    following = ceremony.next_targets(current, now=system_clock())
    version = following.signed.version
    if key:
        ceremony.give_yanked(following.signed, PublicKey.load(key))
    if log_key or oms_key:
        before = _named_by(current.signed, trusted_keys)
        after = with_online_keys(
            before,
            log_key=PublicKey.load(log_key) if log_key else None,
            oms=_bundles_key(oms_key) if oms_key else None,
        ).to_bytes()
        list_trusted_keys(following.signed, after)
        beside = out.with_name(trusted_keys_file(version))
        write_new(beside, after)
        say(f"wrote the trusted keys that they name to {beside}")
    write_new(out, to_bytes(following))
    say(f"wrote targets version {version} to {out}, unsigned")
    emit({"version": version})


def _bundles_key(path: Path) -> str:
    data = read_pem(path)
    try:
        return public_pem(data.decode(errors="replace"))
    except InvalidSpecError as error:
        msg = f"{path}: {error}"
        raise InvalidSpecError(msg) from error


def _named_by(targets: Targets, path: Path | None) -> TrustedKeys:
    if path is None:
        msg = "say which keys are trusted now: --trusted-keys"
        raise InvalidSpecError(msg)
    return named_trusted_keys(targets, read_file(path))


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
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A root or targets file.")] = None,
    *,
    out: Annotated[
        Path | None, typer.Option(help="A new folder: gets what the zoo vouches for.")
    ] = None,
    trust: TrustRoot = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Show what a file says; without one, what the zoo vouches for under your root."""
    if file is not None:
        refuse_options(context, *OF_THE_ZOO, why="a file is shown as it is")
        files = {file.name: read_file(file)}
    else:
        anchor, transport = anchor_of(trust), transport_to(url, ca, token_file)
        with transport, anchor.refreshed(transport.server) as zoo:
            files = _newest(zoo)
    if out is not None:
        write_folder(out, files)
    roles = [data for name, data in files.items() if name != KEYS_FILE]
    told = {name: _told(name, it) for name, it in map(operating.parse_role, roles)}
    for name, facts in told.items():
        say(f"{name} version {facts['version']}, expires {facts['expires']}")
        for line in facts["lines"]:
            say(f"  {line}")
    emit(told)


def _newest(zoo: TrustedZoo) -> dict[str, bytes]:
    """Return name -> file of all that offline keys signed last."""
    versions = zoo.versions()
    files = {ROOT_FILE: versions[ROOT], TARGETS_FILE: versions[TARGETS]}
    if zoo.target(TRUSTED_KEYS) is not None:
        files[KEYS_FILE] = zoo.read_target(TRUSTED_KEYS)
    return files


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
        lines += [
            f"names {path}, SHA-256 {file.hashes.get('sha256')}"
            for path, file in signed.targets.items()
        ]
        lines.append(f"signatures: {len(metadata.signatures)}")
    return {
        "role": name,
        "version": signed.version,
        "expires": rfc3339(signed.expires),
        "lines": lines,
    }
