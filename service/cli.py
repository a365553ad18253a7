"""``zoo serve``: the service as one command; heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.output import emit, say
from model_zoo.errors import NotPermittedError
from model_zoo.files import translate_os_errors
from model_zoo.tuf.online import ROOT_FILE

MAX_TOKEN_BYTES = 4096


def commands(app: typer.Typer) -> None:
    """Add the service's commands to ``zoo``."""
    app.command("serve")(serve)


def serve(
    *,
    data_dir: Annotated[
        Path, typer.Option(envvar="ZOO_SERVICE_DIR", help="Where everything is kept.")
    ] = Path("zoo-data"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token; needed beyond loopback.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="Certificate chain (PEM): serve https.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="The certificate's private key (PEM).")
    ] = None,
    trust_dir: Annotated[
        Path | None,
        typer.Option(help="Folder made by zoo trust init; else a development root."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A further Host name to answer to.")
    ] = None,
    accept_loss: Annotated[
        int | None,
        typer.Option(help="Serve an older state than timestamp N: see the refusal."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Embedded workers; 0 for none.")
    ] = 1,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written with url and pid once it listens.")
    ] = None,
) -> None:
    """Serve a model zoo: SQLite, files, and a worker in a child process."""
    from service.http.tls import TlsFiles
    from service.serving import Start, write_ready_file
    from service.serving import serve as run
    from service.settings import Settings

    def announce(url: str) -> None:
        if ready_file is not None:
            write_ready_file(ready_file, url)
        root = (trust_dir or data_dir / "trust") / ROOT_FILE
        say(f"The zoo is open at {url}")
        say(f"Its trust root, to be pinned with --trust: {root}")
        emit({"url": url, "root": str(root)})

    settings = Settings(
        data_dir=data_dir,
        host=host,
        token=None if token_file is None else read_token(token_file),
        trust_dir=trust_dir,
        allowed_hosts=tuple(allowed_host or ()),
        accept_loss=accept_loss,
    )
    run(
        Start(
            settings=settings,
            port=port,
            workers=workers,
            token_file=token_file,
            tls=TlsFiles.of(tls_certificate, tls_key),
            on_ready=announce,
        )
    )


def read_token(path: Path) -> str:
    """Return the token in the file at ``path``, without the line's end.

    Raises:
        LocalError: it cannot be read.
        NotPermittedError: it is not printable ASCII on one line.
    """
    with translate_os_errors(f"cannot read token file {path}"), path.open("rb") as file:
        data = file.read(MAX_TOKEN_BYTES)
    token = data.strip().decode("ascii", errors="replace")
    if not token.isprintable() or not token.isascii() or " " in token:
        msg = f"{path}: a token is printable ASCII on one line, without spaces"
        raise NotPermittedError(msg)
    return token
