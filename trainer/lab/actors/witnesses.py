"""The laboratory's witness: a process that cosigns the log, and how to wait for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_zoo.clock import system_clock
from model_zoo.errors import LocalError, NotFoundError
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.transparency.client import log_reader
from model_zoo.transparency.notes import Note
from model_zoo.transparency.tlog import CHECKPOINT_PATH, WITNESSED_PATH, Checkpoint
from model_zoo.transparency.witness import COSIGNATURES_PATH, Witness
from model_zoo.tuf.fetcher import ServerFetcher
from trainer.lab.actors.processes import WATCHDOG_SECONDS, running

INTERVAL_SECONDS = 1
POLL_SECONDS = 0.1


@contextmanager
def witness_running(
    server: Server, *, key: Path, passphrase_file: Path, log_key: Path, folder: Path
) -> Iterator[None]:
    """Run ``zoo witness`` until the block ends.

    Args:
        server: whose log it watches; its token, if any, is in the environment.
        key: the witness's, encrypted.
        passphrase_file: the key's passphrase.
        log_key: the log's public key.
        folder: takes its state and its output.
    """
    folder.mkdir(exist_ok=True)
    arguments = [
        "model_zoo",
        "witness",
        f"--url={server.url}",
        f"--key={key}",
        f"--passphrase-file={passphrase_file}",
        f"--log-key={log_key}",
        f"--state={folder / 'witness.note'}",
        f"--interval={INTERVAL_SECONDS}",
        *([f"--ca={server.ca}"] if server.ca else []),
    ]
    secrets = {"ZOO_TOKEN": server.token} if server.token else None
    with running(arguments, log=folder / "witness.log", secrets=secrets):
        yield


def look_once(
    server: Server, *, key: SigningKey, log_key: PublicKey, state: Path
) -> None:
    """Let a witness look at a log once, here, and cosign what it finds."""
    witness = Witness(key=key, log_keys=(log_key,), state=state)
    with ServerFetcher(server) as fetcher, Transport(server) as transport:
        witness.look(
            log_reader(fetcher, server.url),
            lambda note: _submit(transport, note),
            now=system_clock(),
        )


def wait_until_witnessed(server: Server) -> None:
    """Return when the witness has cosigned all that the log holds now.

    Raises:
        LocalError: it did not in WATCHDOG_SECONDS.
    """
    deadline = time.monotonic() + WATCHDOG_SECONDS
    with ServerFetcher(server) as fetcher:
        fetch = log_reader(fetcher, server.url)
        logged = _size(fetch(CHECKPOINT_PATH))
        while time.monotonic() < deadline:
            try:
                if _size(fetch(f"{WITNESSED_PATH}?cosignatures=1")) >= logged:
                    return
            except NotFoundError:
                pass  # nothing is cosigned yet
            time.sleep(POLL_SECONDS)
    msg = f"the witness did not cosign the log within {WATCHDOG_SECONDS:g} s"
    raise LocalError(msg)


def _submit(transport: Transport, note: str) -> None:
    transport.send("POST", COSIGNATURES_PATH, {"note": note})


def _size(note: bytes) -> int:
    return Checkpoint.parse(Note.parse(note).text).size
