"""An authority to pin and what a server of it shows, made for one test run."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from trainer.lab.actors.certificates import issue

START = datetime(2020, 1, 1, tzinfo=UTC)
DAYS = 365 * 60


def authority_and_server(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return an authority's PEM and what a server on 127.0.0.1 shows, issued by it."""
    folder.mkdir()
    files = issue(folder, hosts=("127.0.0.1",), now=START, days=DAYS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.chain, files.key)
    return files.authority, context
