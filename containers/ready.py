"""Ask the service whether it is ready, over the TLS that everybody else uses.

The health check of the containers, and, with ``--wait``, the gate before a start.
Run as ``python -m containers.ready [--wait SECONDS]``; reads ZOO_URL and ZOO_CA.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.output import say
from model_zoo.errors import ZooError
from model_zoo.http.client import HttpClient, Request
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.server import Server

LIMITS = DownloadLimits(answer_seconds=5.0, pauses_seconds=())
PAUSE_SECONDS = 0.5


def main(
    url: Annotated[str, typer.Option(envvar="ZOO_URL")],
    ca: Annotated[Path, typer.Option(envvar="ZOO_CA")],
    wait: Annotated[float, typer.Option(help="How long to go on asking.")] = 0.0,
) -> None:
    """Exit 0 if the service is ready, 1 if it is not."""
    deadline = time.monotonic() + wait
    while not is_ready(url, ca=ca):
        if time.monotonic() >= deadline:
            say(f"{url} is not ready")
            raise typer.Exit(1)
        time.sleep(PAUSE_SECONDS)


def is_ready(url: str, *, ca: Path) -> bool:
    """Whether the service at ``url`` shows a certificate of ``ca`` and is ready."""
    try:
        with HttpClient(Server(url, ca=ca), LIMITS) as client:
            client.fetch(Request(path=f"{client.server.base_path}/readyz"))
    except ZooError:
        return False
    return True


if __name__ == "__main__":
    typer.run(main)
