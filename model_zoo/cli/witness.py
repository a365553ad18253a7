"""``zoo witness``: watch a zoo's log, and cosign what it was seen to say."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from model_zoo.canonical import JsonObject
from model_zoo.cli.options import (
    Connection,
    PassphraseFile,
    SigningKeyFile,
    refuse_options,
    signing_key,
)
from model_zoo.cli.output import emit, say
from model_zoo.clock import system_clock
from model_zoo.errors import NotFoundError, TransportError
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.transparency.client import log_reader
from model_zoo.transparency.witness import (
    COSIGNATURES_PATH,
    CosignedCheckpoint,
    Witness,
    locked_state,
)
from model_zoo.tuf.fetcher import ServerFetcher

INTERVAL_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("witness")(witness)


def witness(
    context: typer.Context,
    *,
    key: SigningKeyFile,
    state: Annotated[
        Path, typer.Option(help="File of the last checkpoint that you cosigned.")
    ],
    log_key: Annotated[
        list[Path], typer.Option("--log-key", help="Pinned key of the log (PEM).")
    ],
    retired_log_key: Annotated[
        list[Path] | None,
        typer.Option(help="Key that signed the log until it was replaced (PEM)."),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=1, help="Seconds between two looks.")
    ] = INTERVAL_SECONDS,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    passphrase_file: PassphraseFile = None,
    connection: Connection,
) -> None:
    """Cosign a log's checkpoints, each only if it extends the one before."""
    if once:
        refuse_options(context, "interval", why="with --once there is one look")
    server = connection.server()
    by = Witness(
        key=signing_key(key, passphrase_file=passphrase_file),
        log_keys=tuple(map(PublicKey.load, log_key)),
        retired=tuple(map(PublicKey.load, retired_log_key or ())),
        state=state,
    )
    with _looking(by, server) as look:
        if once:
            emit(_to_object(look(), by))
        else:
            _look_forever(look, interval_seconds=interval)


@contextmanager
def _looking(by: Witness, server: Server) -> Iterator[Callable[[], CosignedCheckpoint]]:
    """Yield how ``by`` looks at the log of a zoo once, and says what it saw."""
    with (
        closing(ServerFetcher(server)) as fetcher,
        Transport(server) as transport,
        locked_state(by.state),
    ):
        fetch = log_reader(fetcher, server.url)

        def submit(note: str) -> None:
            transport.send("POST", COSIGNATURES_PATH, {"note": note})

        def look() -> CosignedCheckpoint:
            seen = by.look(fetch, submit, now=system_clock())
            say(f"{seen.origin}: {seen.size} entries, cosigned as {by.name}")
            return seen

        yield look


def _to_object(seen: CosignedCheckpoint, by: Witness) -> JsonObject:
    return {
        "origin": seen.origin,
        "size": seen.size,
        "cosigned_at": seen.at.isoformat(timespec="seconds"),
        "keyid": by.key.public.keyid,
        "verifier_key": by.verifier_key.to_text(),
    }


def _look_forever(look: Callable[[], object], *, interval_seconds: float) -> None:
    """Look again and again; only what trying again may cure does not end it."""
    while True:
        try:
            look()
        except (TransportError, NotFoundError) as error:
            say(f"zoo: {error}; trying again")
        time.sleep(interval_seconds)
