"""``zoo yank | cosign | lineage``: what is withdrawn, and was made from what."""

from typing import Annotated

import typer

from model_zoo.cli.options import (
    DEFAULT_URL,
    Authority,
    PassphraseFile,
    SigningKeyFile,
    TokenFile,
    TrustRoot,
    Url,
    anchor_of,
    connect,
    pinned,
    signing_key,
    transport_to,
)
from model_zoo.cli.output import emit, say
from model_zoo.cli.trust_files import say_who_must_sign
from model_zoo.client.cosign import cosign
from model_zoo.client.lineage import lineage_of, told
from model_zoo.client.publish import Author
from model_zoo.names import ReleaseName, check_name


def register(app: typer.Typer) -> None:
    """Add the commands of this module to ``app``."""
    app.command()(yank)
    app.command()(lineage)
    app.command("cosign")(cosign_change)


def yank(
    name: Annotated[str, typer.Argument(help="publisher/model@version")],
    *,
    reason: Annotated[str, typer.Option(help="Why; everybody will read it.")],
    key: SigningKeyFile,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Withdraw a release of yours, for good; clients refuse it, and what it made."""
    signer = signing_key(key, passphrase_file=passphrase_file)
    with connect(url, ca=ca, token_file=token_file, anchor=pinned(trust)) as zoo:
        withdrawal = zoo.yank(name, reason=reason, key=signer)
    notice, waits_for = withdrawal.notice, withdrawal.waits_for
    if waits_for:
        say(f"handed in, not withdrawn yet: {name}: {notice.reason}")
        say_who_must_sign(ReleaseName.parse(name).publisher, waits_for)
    else:
        say(notice.told())
    emit({**notice.to_object(), "waits_for": list(waits_for)})


def cosign_change(
    publisher: Annotated[str, typer.Argument(help="Whose change waits.")],
    *,
    key: SigningKeyFile,
    trust: TrustRoot = None,
    passphrase_file: PassphraseFile = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Add the signature that a publisher's release, yank or renewal still lacks.

    What waits is built again here, from what your own root vouches for, and compared.
    """
    author = Author(
        key=signing_key(key, passphrase_file=passphrase_file), anchor=anchor_of(trust)
    )
    with transport_to(url, ca, token_file) as transport:
        change = cosign(transport, check_name(publisher, what="publisher"), author)
    say(f"signed {change.told}")
    say("others must sign it too" if change.pending else "that was enough: it is done")
    emit({"name": change.name, "signed": change.told, "pending": change.pending})


def lineage(
    name: Annotated[str, typer.Argument(help="publisher/model@version")],
    *,
    trust: TrustRoot = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Show what a release was made from, and what was made from it."""
    release, anchor = ReleaseName.parse(name), anchor_of(trust)
    with transport_to(url, ca, token_file) as transport:
        found = lineage_of(transport, release, anchor=anchor)
    for line in told(found):
        say(line)
    emit(found.to_object())
