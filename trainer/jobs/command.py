"""``zoo worker``: lease jobs from a zoo and do them."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from model_zoo.cli.options import (
    Authority,
    PassphraseFile,
    TokenFile,
    Url,
    signing_key,
    token,
)
from model_zoo.cli.output import console
from model_zoo.client.worker import WorkClient
from model_zoo.errors import LocalError
from model_zoo.statements.jobs import JobSpec
from model_zoo.statements.manifest import Manifest
from trainer.jobs.probing import choose_child
from trainer.jobs.results import remove
from trainer.jobs.supervisor import Child
from trainer.jobs.worker import Made, Worker, as_asked, as_they_are, run_forever
from trainer.sandbox.child import keep_memory_private


def commands(app: typer.Typer) -> None:
    """Add ``zoo worker`` to the command line."""
    app.command("worker")(worker_command())


def worker_command(
    carries_out: Callable[[JobSpec], JobSpec] = as_asked,
    tidies: Callable[[Made], Manifest] = as_they_are,
) -> Callable[..., None]:
    """Return the command line of a worker that conducts itself as given."""

    def work(
        *,
        url: Url,
        trainer: Annotated[str, typer.Option(help="The name bound to the key.")],
        key: Annotated[Path, typer.Option(help="The builder's key, encrypted PEM.")],
        scratch: Annotated[Path, typer.Option(help="A folder of its own; emptied.")],
        passphrase_file: PassphraseFile = None,
        token_file: TokenFile = None,
        ca: Authority = None,
    ) -> None:
        """Lease jobs for a trainer, do each in a sandboxed child, sign what it made."""
        keep_memory_private()
        secrets = [it for it in (key, passphrase_file, token_file) if it is not None]
        with WorkClient(url, token=token(token_file), ca=ca) as client:
            builder = signing_key(key, passphrase_file=passphrase_file)
            place = prepare(scratch)
            child, standing = choose_child(place, secrets=secrets, child=Child())
            worker = Worker(
                client=client,
                trainer=trainer,
                key=builder,
                scratch=place,
                carries_out=carries_out,
                tidies=tidies,
                child=child,
            )
            console.print(f"working for {trainer} at {url}")
            console.print(f"sandbox: {standing}", soft_wrap=True)
            until_terminated(lambda: run_forever(worker))

    return work


def prepare(scratch: Path) -> Path:
    """Return ``scratch`` as an empty folder: what a killed worker left goes.

    Raises:
        LocalError: it holds something that is not a worker's.
    """
    marker = scratch / ".zoo-worker"
    if scratch.exists() and any(scratch.iterdir()) and not marker.exists():
        msg = f"{scratch} is not empty and not a worker's; name another --scratch"
        raise LocalError(msg)
    remove(scratch)
    scratch.mkdir(parents=True)
    marker.touch()
    return scratch


def until_terminated(loop: Callable[[], None]) -> None:
    """Run ``loop`` until SIGTERM or Ctrl-C, which unwind it and end its child."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        loop()
    except KeyboardInterrupt:
        console.print("worker ended")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
